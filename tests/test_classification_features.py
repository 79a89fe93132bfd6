"""Features: the frozen network's own, batch by batch the same, and the handmade ones in cases with a known answer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18
from torchvision.transforms.functional import normalize, pil_to_tensor

from clsa.classification.backbone import asserted_frozen, build_frozen
from clsa.classification.config import get_cfg
from clsa.classification.features import Features, choose_device, load_features
from clsa.classification.handmade import colour_histogram, hog
from clsa.classification.labels import LabelledSplit, read_split
from clsa.classification.transforms import build_geometry
from clsa.configs.command import InputError
from clsa.convert.backbone_file import read_backbone, write_backbone
from clsa.datasets.categories import VOC_CLASSES


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = resnet18().state_dict()
    return {key: value for key, value in state.items() if not key.startswith("fc.") and "num_batches" not in key}


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    write_backbone(path, state, "torchvision", {"source": {"file": "checkpoint.pth", "method": "random_init"}})
    return path


@pytest.fixture(scope="module")
def splits(mini_root: Path) -> tuple[LabelledSplit, LabelledSplit]:
    train, test = (read_split(mini_root / "VOC2007", name, VOC_CLASSES) for name in ("trainval", "test"))
    return train, test


def settings(**changes):
    cfg = get_cfg().FEATURES
    for key, value in {"SIZE": 32, "RESIZE": 40, "WORKERS": 0, "DEVICE": "cpu", **changes}.items():
        cfg[key] = value
    return cfg


def compute(splits, weights: Path | None, cache: Path | None = None, **changes) -> Features:
    return load_features(settings(**changes), weights, splits, seed=0, cache=cache)


def only(features: Features) -> tuple[np.ndarray, ...]:
    """The arrays of the one layer, by split."""
    (arrays,) = features.matrices.values()
    return arrays


def test_equal_to_torchvision_one_image_at_a_time(splits, weights: Path, state) -> None:
    network = resnet18()
    network.load_state_dict(state, strict=False)
    network.fc = torch.nn.Identity()
    network.eval()
    got = compute(splits, weights)
    train, test = only(got)
    for row, path in zip(train[:5], splits[0].paths, strict=False):
        image = Image.open(path).convert("RGB")
        shorter = min(image.size)
        image = image.resize(tuple(int(40 * side / shorter) for side in image.size), Image.Resampling.BILINEAR)
        image = image.resize((32, 32), Image.Resampling.BILINEAR)
        pixels = normalize(pil_to_tensor(image) / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        with torch.no_grad():
            expected = network(pixels[None])[0]
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)
    assert (train.shape, test.shape) == ((len(splits[0].paths), 512), (len(splits[1].paths), 512))
    assert got.weights["method"] == "random_init"
    assert got.details["batch_norm"] == "as in the weights"


def test_batches_and_workers_change_nothing(splits, weights: Path) -> None:
    alone, many = compute(splits, weights, BATCH_SIZE=7), compute(splits, weights, BATCH_SIZE=64, WORKERS=1)
    np.testing.assert_allclose(only(alone)[1], only(many)[1], rtol=1e-4, atol=1e-4)


def test_a_network_that_moves_is_our_defect(weights: Path) -> None:
    network = build_frozen(read_backbone(weights), "cpu")
    images = torch.randn(4, 3, 32, 32)
    with asserted_frozen(network):
        network(images)
    with pytest.raises(RuntimeError, match="not in eval mode"), asserted_frozen(network):
        network.train()
    network.eval()
    moved = pytest.raises(RuntimeError, match=r"moved while .*: bn1.running_mean, bn1.running_var")
    with moved, asserted_frozen(network):
        network.train()(images)
        network.eval()


def test_reestimated_batch_norm(splits, weights: Path, state, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first BN's statistics are those of conv1's output over all training images; the features change."""
    import clsa.classification.features as features

    built = []
    monkeypatch.setattr(features, "build_frozen", lambda *args: built.append(build_frozen(*args)) or built[-1])
    got = compute(splits, weights, REESTIMATE_BN=True, BATCH_SIZE=16)
    network = built[0]

    geometry = build_geometry(settings())
    pixels = torch.stack([pil_to_tensor(geometry(Image.open(path).convert("RGB"))) for path in splits[0].paths]) / 255
    pixels = normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).double()
    responses = torch.nn.functional.conv2d(pixels, state["conv1.weight"].double(), stride=2, padding=3)
    mean, variance = responses.mean(dim=(0, 2, 3)), responses.var(dim=(0, 2, 3), unbiased=False)
    torch.testing.assert_close(network.bn1.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.bn1.running_var.double(), variance, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.conv1.weight.data.contiguous(), state["conv1.weight"], rtol=0, atol=0)
    assert got.details["batch_norm"] == "re-estimated on trainval, seed 0"
    assert not np.allclose(only(got)[1], only(compute(splits, weights))[1], rtol=0.1)


def test_detectron2_weights_are_refused_with_the_command_that_converts(splits, state, tmp_path: Path) -> None:
    write_backbone(tmp_path / "r18.pkl", state, "detectron2", {})
    with pytest.raises(InputError, match=r"need torchvision's. Convert it: clsa-convert .*r18.pth --to torchvision"):
        compute(splits, tmp_path / "r18.pkl")


def test_a_checkpoint_is_refused_with_the_command_that_converts(splits, state, tmp_path: Path) -> None:
    torch.save({"query": state, "epoch": 3}, tmp_path / "checkpoint_0000003.pth")
    with pytest.raises(InputError, match=r"is a checkpoint, .* clsa-convert .* --to torchvision"):
        compute(splits, tmp_path / "checkpoint_0000003.pth")


def test_features_that_are_not_finite(splits, state, tmp_path: Path) -> None:
    broken = {**state, "layer4.1.bn2.weight": torch.full((512,), 3e38), "layer4.1.bn2.bias": torch.full((512,), 3e38)}
    torch.save(broken, tmp_path / "broken.pth")
    expected = rf"avgpool features of trainval are not finite, the first those of image {splits[0].image_ids[0]}"
    with pytest.raises(InputError, match=expected):
        compute(splits, tmp_path / "broken.pth")


def test_unreadable_image_is_named(splits, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(splits[0].paths[0].read_bytes()[:600])
    damaged = LabelledSplit("trainval", ("cut",), (cut,), VOC_CLASSES, splits[0].labels[:1])
    with pytest.raises(InputError, match=r"cut.jpg cannot be read"):
        compute((damaged, splits[1]), None, KIND="colour_histogram")


def test_device_that_is_not_there() -> None:
    assert choose_device("auto") in ("cpu", "cuda")
    with pytest.raises(InputError, match=r"FEATURES.DEVICE 'gpu9' cannot be used here: .* Give auto, cpu or cuda"):
        choose_device("gpu9")


def test_square_keeps_the_border_and_center_crop_the_aspect() -> None:
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[:, :40] = 255
    image = Image.fromarray(pixels)
    square = np.asarray(build_geometry(settings(TRANSFORM="square", RESIZE=50, SIZE=40))(image))
    middle = np.asarray(build_geometry(settings(TRANSFORM="center_crop", RESIZE=50, SIZE=40))(image))
    assert square.shape == middle.shape == (40, 40, 3)
    assert square[20, :7].min() > 250
    assert square[20, 9:].max() < 5
    assert middle.max() < 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TRANSFORM": "corner"}, "'corner' is unknown. Give one of square, center_crop, ten_crop"),
        ({"INTERPOLATION": "nearest"}, "'nearest' is unknown. Give bilinear or bicubic"),
        ({"SIZE": 224, "RESIZE": 200}, "SIZE must be at least 32, and RESIZE at least SIZE"),
    ],
)
def test_refused_transforms(changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_geometry(settings(**changes))


def test_colour_histogram_of_two_colours() -> None:
    pixels = np.zeros((10, 10, 3), dtype=np.uint8)
    pixels[:3] = (255, 31, 32)  # bins 7, 0, 1
    got = colour_histogram(Image.fromarray(pixels))
    assert got.shape == (512,)
    assert got[7 * 64 + 0 * 8 + 1] == pytest.approx(0.3)
    assert got[0] == pytest.approx(0.7)
    assert got.sum() == pytest.approx(1)


def test_hog_knows_the_direction_of_edges_and_not_their_contrast() -> None:
    ramp = np.tile(np.arange(96, dtype=np.uint8), (96, 1))
    across = hog(Image.fromarray(ramp)).reshape(5, 5, 4, 9)
    down = hog(Image.fromarray(ramp.T.copy())).reshape(5, 5, 4, 9)
    twice = hog(Image.fromarray(2 * ramp)).reshape(5, 5, 4, 9)
    # Gradient at 0 degrees: between the orientations centred at 10 and at 170; at 90 degrees: the fifth's centre.
    np.testing.assert_allclose(across[2, 2], [[1 / np.sqrt(8), *[0] * 7, 1 / np.sqrt(8)]] * 4, atol=1e-3)
    np.testing.assert_allclose(down[2, 2], [[*[0] * 4, 1 / 2, *[0] * 4]] * 4, atol=1e-3)
    np.testing.assert_allclose(twice, across, atol=1e-3)


@pytest.mark.parametrize(("kind", "dimensions"), [("colour_histogram", 512), ("hog", 900)])
def test_handmade_kinds(splits, kind: str, dimensions: int) -> None:
    got = compute(splits, None, KIND=kind, SIZE=96, RESIZE=96)
    assert only(got)[0].shape == (len(splits[0].paths), dimensions)
    assert only(got)[0].dtype == np.float32
    assert got.weights == {"file": None, "sha256": None}
