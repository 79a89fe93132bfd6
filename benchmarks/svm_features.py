"""The features and labels that benchmarks/svm.py measures on: drawn, of a file, or of a network on a VOC folder.

N training images, M test images, D features, K classes. All three give train (N, D), train_labels (N, K), test (M, D),
test_labels (M, K) and classes (K,); labels are 1, -1, and 0 for difficult.
"""

import sys
from pathlib import Path

import numpy as np

from clsa.datasets.categories import VOC_CLASSES

TRAIN, TEST = 5011, 4952
#: Images of VOC2007 trainval in which a class is present, by the table of the challenge's development kit.
POSITIVES = (238, 243, 330, 181, 244, 186, 713, 337, 445, 141, 200, 421, 287, 245, 2008, 245, 96, 229, 261, 256)
STRENGTH = 0.45


def synthetic(dimensions: int, seed: int) -> dict[str, np.ndarray]:
    """VOC's numbers of images and classes, and features with the spectrum of a trained network's; float32 and int8.

    Latent variables whose k-th variance is proportional to 1 / k, a spectrum like that of trained networks' features
    (Agrawal et al., "alpha-ReQ: Assessing representation quality in self-supervised learning by measuring eigenspectrum
    decay", 2022, find exponents near 1); each of 20 classes, independently present with its frequency in VOC07, adds a
    direction of its own, of varying strength; a random rotation; and the softplus, because average-pooled ReLU features
    are positive and agree in direction (the mean cosine of two images is about 0.7). The strength is such that the test
    mAP is near that of published self-supervised networks: about 90.
    """
    rng = np.random.default_rng(seed)
    images, latent = TRAIN + TEST, min(dimensions, 2048)
    present = rng.random((images, len(POSITIVES))) < np.array(POSITIVES) / TRAIN
    deviation = np.arange(1, latent + 1) ** -0.5
    directions = rng.normal(size=(len(POSITIVES), latent)) * deviation
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = STRENGTH * present * np.exp(0.3 * rng.normal(size=present.shape))
    hidden = (rng.normal(size=(images, latent)) * deviation + strength @ directions).astype(np.float32)
    hidden = hidden @ rng.standard_normal((latent, dimensions), dtype=np.float32)
    features = np.logaddexp(0, hidden / hidden.std(), dtype=np.float32)
    labels = np.where(present, 1, -1).astype(np.int8)
    return {
        "train": features[:TRAIN],
        "train_labels": labels[:TRAIN],
        "test": features[TRAIN:],
        "test_labels": labels[TRAIN:],
        "classes": np.array(VOC_CLASSES),
    }


def from_file(path: Path) -> dict[str, np.ndarray]:
    """Of an .npz file with those names; ``classes`` may be missing."""
    with np.load(path) as saved:
        data = dict(saved)
    if missing := {"train", "train_labels", "test", "test_labels"} - data.keys():
        sys.exit(f"{path} holds {', '.join(sorted(data))}; it needs {', '.join(sorted(missing))} too.")
    data.setdefault("classes", np.array([f"class {k}" for k in range(data["train_labels"].shape[1])]))
    return data


def of_network(weights: Path, voc_dir: Path, config_file: Path) -> dict[str, np.ndarray]:
    """A backbone's features on a folder in VOC's layout, as ``clsa-classify svm`` computes them."""
    from clsa.classification.config import get_cfg
    from clsa.classification.features import load_features
    from clsa.classification.labels import read_split
    from clsa.configs.loading import load_config

    cfg = load_config(get_cfg(), config_file)
    splits = [read_split(voc_dir, name, VOC_CLASSES) for name in (cfg.DATA.TRAIN_SPLIT, cfg.DATA.TEST_SPLIT)]
    features = load_features(cfg.FEATURES, weights, splits, cfg.SEED)
    train, test = features.matrices[cfg.FEATURES.LAYERS[0]]
    return {
        "train": train,
        "train_labels": splits[0].labels,
        "test": test,
        "test_labels": splits[1].labels,
        "classes": np.array(splits[0].classes),
    }
