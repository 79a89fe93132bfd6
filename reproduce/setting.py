"""What a result is of, in words that a reader knows without its protocol's id: network, training data, schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

from .measured import Measured

#: Images that COCO's 1x schedule passes through a detector: 90,000 iterations of 16.
ONE_SCHEDULE = 1_440_000

#: What a probe's protocol id has in it -> what is fitted to the features, and where its epochs stand in the config.
PROBES = (
    ("-svm", "linear SVM", ""),
    ("-low", "linear SVM of a few images a class", ""),
    ("-logistic", "logistic regression", ""),
    ("-knn", "nearest neighbours", ""),
    ("imagenet", "linear layer", "IMAGENET"),
    ("-clsa-code", "linear layer", "PUBLIC_CODE"),
    ("-linear", "linear layer", "LINEAR"),
)


def in_words(measured: Sequence[Measured]) -> str:
    """Of the results of one table, which share all but the backbone; empty where they say nothing.

    ``"Mask R-CNN with FPN on ResNet-50, trained on coco_2017_train, 90,000 iterations of 16 images (1x)"``,
    ``"linear layer, 100 epochs, on avgpool of a frozen ResNet-50"``.
    """
    if not measured:
        return ""
    depths = sorted({m.depth for m in measured if m.depth})
    network = " and ".join(f"ResNet-{depth}" for depth in depths)
    return _detector(measured[0], network) if measured[0].stage == "detection" else _probe(measured, network)


def _detector(m: Measured, network: str) -> str:
    config = m.result["config"]
    model, solver, data = (_node(config, name) for name in ("MODEL", "SOLVER", "DATASETS"))
    parts = []
    if model:
        kind = "Mask R-CNN" if model.get("MASK_ON") else "Faster R-CNN"
        neck = "FPN" if "fpn" in str(_node(model, "BACKBONE").get("NAME")) else "C4"
        parts.append(f"{kind} with {neck} on {network or 'its backbone'}")
    elif network:
        parts.append(f"backbone {network}")
    trained_on = data.get("TRAIN")
    if isinstance(trained_on, (list, tuple)) and trained_on:
        parts.append(f"trained on {' and '.join(map(str, trained_on))}")
    iterations, batch = solver.get("MAX_ITER"), solver.get("IMS_PER_BATCH")
    if isinstance(iterations, int) and isinstance(batch, int):
        times = iterations * batch / ONE_SCHEDULE
        full = trained_on == ["coco_2017_train"] and not m.result["dataset"].get("miniature")
        schedule = f" ({times:.0f}x)" if full and times in (1, 2, 3) else ""
        parts.append(f"{iterations:,} iterations of {batch} images{schedule}")
    return ", ".join(parts)


def _probe(measured: Sequence[Measured], network: str) -> str:
    m = next((m for m in measured if m.depth), measured[0])
    fitted, section = next(
        ((words, section) for part, words, section in PROBES if part in m.result["protocol"]), ("", "")
    )
    epochs = _node(m.result["config"], section).get("EPOCHS") if section else None
    layer = m.result["details"].get("layer")
    features = f"{f'{layer} of ' if isinstance(layer, str) else ''}a frozen {network}" if network else "features"
    parts = [fitted, f"{epochs} epochs" if epochs else "", f"on {features}" if fitted and network else network]
    return ", ".join(part for part in parts if part)


def _node(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    node = config.get(name)
    return node if isinstance(node, dict) else {}
