"""Cached features: found again, never stale, and the same bits after a kill as without one."""

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18
from torchvision.transforms.functional import hflip, normalize, pil_to_tensor

from clsa.classification import extraction
from clsa.classification.config import get_cfg
from clsa.classification.feature_cache import CachedSplit
from clsa.classification.features import Features, load_features
from clsa.classification.labels import LabelledSplit, read_split
from clsa.configs.command import InputError
from clsa.convert.backbone_file import write_backbone
from clsa.datasets.categories import VOC_CLASSES

BATCH = 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    state = {key: value for key, value in resnet18().state_dict().items() if "fc." not in key and "num_b" not in key}
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    write_backbone(path, state, "torchvision", {})
    return path


@pytest.fixture(scope="module")
def split(mini_root: Path) -> LabelledSplit:
    """The first 30 test images."""
    whole = read_split(mini_root / "VOC2007", "test", VOC_CLASSES)
    return LabelledSplit("test", whole.image_ids[:30], whole.paths[:30], whole.classes, whole.labels[:30])


def load(split: LabelledSplit, weights: Path, cache: Path | None = None, seed: int = 0, **changes) -> Features:
    cfg = get_cfg().FEATURES
    fast = {
        "SIZE": 64,
        "RESIZE": 72,
        "WORKERS": 0,
        "DEVICE": "cpu",
        "BATCH_SIZE": BATCH,
        "LAYERS": ["conv1", "avgpool"],
    }
    for key, value in {**fast, **changes}.items():
        cfg[key] = value
    return load_features(cfg, weights, [split], seed, cache)


def arrays(features: Features) -> dict[str, np.ndarray]:
    return {layer: by_split[0] for layer, by_split in features.matrices.items()}


def test_found_again_and_only_what_is_missing_is_computed(split, weights: Path, tmp_path: Path) -> None:
    in_memory = arrays(load(split, weights))
    first, second = load(split, weights, tmp_path), load(split, weights, tmp_path)
    assert first.details["images_computed"] == len(split.paths)
    assert second.details["images_computed"] == 0
    assert second.details["images_per_second"] is None
    for layer, array in arrays(second).items():
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, in_memory[layer])

    written = Path(arrays(first)["conv1"].filename).stat().st_mtime_ns
    more = load(split, weights, tmp_path, LAYERS=["conv1", "res2"])
    assert more.details["images_computed"] == len(split.paths)
    assert Path(arrays(more)["conv1"].filename).stat().st_mtime_ns == written
    folder = Path(more.folders["test"])
    assert sorted(path.name for path in folder.glob("*.npy*")) == ["avgpool.npy", "conv1.npy", "res2.npy"]
    assert (folder / "images.txt").read_text().split() == list(split.image_ids)


def test_whatever_changes_gives_another_folder(split, weights: Path, tmp_path: Path) -> None:
    split = replace(split, image_ids=split.image_ids[:8], paths=split.paths[:8])
    other_weights = tmp_path / "other.pth"
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "bn1.bias": state["bn1.bias"] + 1}, other_weights)
    copy = tmp_path / split.paths[3].name
    shutil.copyfile(split.paths[3], copy)  # the same bytes, newer
    touched = replace(split, paths=(*split.paths[:3], copy, *split.paths[4:]))
    renamed = replace(split, image_ids=("other", *split.image_ids[1:]))
    reordered = replace(split, image_ids=split.image_ids[::-1], paths=split.paths[::-1])
    fewer = replace(split, image_ids=split.image_ids[:7], paths=split.paths[:7])
    small = {"SIZE": 32, "RESIZE": 32, "LAYERS": ["avgpool"]}
    folders = [
        load(images, file, tmp_path / "cache", seed, **{**small, **changes}).folders["test"]
        for images, file, seed, changes in [
            (split, weights, 0, {}),
            (split, other_weights, 0, {}),
            (touched, weights, 0, {}),
            (renamed, weights, 0, {}),
            (reordered, weights, 0, {}),
            (fewer, weights, 0, {}),
            (split, weights, 0, {"RESIZE": 40}),
            (split, weights, 0, {"TRANSFORM": "center_crop"}),
            (split, weights, 0, {"INTERPOLATION": "bicubic"}),
            (split, weights, 0, {"PRECISION": "half"}),
            (split, weights, 0, {"REESTIMATE_BN": True}),
            (split, weights, 1, {"REESTIMATE_BN": True}),
        ]
    ]
    assert len(set(folders)) == len(folders)


def _killed_after_two_saves(split: LabelledSplit, weights: Path, cache: Path) -> None:
    save, saves = CachedSplit.save_progress, []

    def save_then_die(self, *args) -> None:
        if len(saves) == 2:  # a third batch has been written, and nobody was told
            os.kill(os.getpid(), signal.SIGKILL)
        saves.append(save(self, *args))

    CachedSplit.save_progress = save_then_die
    extraction.SECONDS_BETWEEN_SAVES = 0
    load(split, weights, cache)


def test_killed_and_resumed_gives_the_same_bits(split, weights: Path, tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_killed_after_two_saves, args=(split, weights, tmp_path))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    assert not list(folder.glob("*.npy"))
    partial = np.load(folder / "avgpool.npy.partial", mmap_mode="r+")
    partial[2 * BATCH :] = np.nan  # whatever the kill left of the rows that progress.json does not name
    partial.flush()
    resumed = load(split, weights, tmp_path)
    assert resumed.details["images_computed"] == len(split.paths) - 2 * BATCH
    undisturbed = arrays(load(split, weights))
    for layer, array in arrays(resumed).items():
        np.testing.assert_array_equal(array, undisturbed[layer])
    assert not list(folder.glob("*.partial"))
    assert not (folder / "progress.json").exists()


def test_another_batch_size_or_layer_begins_anew(tmp_path: Path) -> None:
    cached = CachedSplit(tmp_path, "test", ["a", "b", "c"], {"of": "this test"})
    partial = {"res4": cached.create_partial("res4", 5, np.dtype(np.float32))}
    cached.save_progress(partial, 2, batch_size=2)
    assert cached.resumable_rows(["res4"], 2) == 2
    assert cached.resumable_rows(["res4"], 1) == 0
    assert cached.resumable_rows(["res4", "res5"], 2) == 0
    (cached.folder / "progress.json").write_text("{")
    assert cached.resumable_rows(["res4"], 2) == 0


def test_damaged_cache(split, weights: Path, tmp_path: Path) -> None:
    small = {"SIZE": 32, "RESIZE": 32, "LAYERS": ["avgpool"]}
    folder = Path(load(split, weights, tmp_path, **small).folders["test"])
    array = folder / "avgpool.npy"
    array.write_bytes(array.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"avgpool.npy is damaged: .* Remove it"):
        load(split, weights, tmp_path, **small)
    identity = json.loads((folder / "identity.json").read_text())
    (folder / "identity.json").write_text(json.dumps({**identity, "weights_sha256": "0"}))
    with pytest.raises(InputError, match=r"does not describe the features of its folder \(weights_sha256\)"):
        load(split, weights, tmp_path, **small)


def test_ten_crops_are_averaged(split, weights: Path) -> None:
    first = replace(split, image_ids=split.image_ids[:1], paths=split.paths[:1])
    got = arrays(load(first, weights, TRANSFORM="ten_crop", LAYERS=["avgpool"]))["avgpool"][0]
    image = Image.open(split.paths[0]).convert("RGB")
    shorter = min(image.size)
    image = image.resize(tuple(int(72 * side / shorter) for side in image.size), Image.Resampling.BILINEAR)
    right, bottom = image.width - 64, image.height - 64
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    crops = [one.crop((x, y, x + 64, y + 64)) for one in (image, hflip(image)) for x, y in corners]
    pixels = torch.stack([pil_to_tensor(crop) for crop in crops]) / 255
    network = resnet18()
    network.fc = torch.nn.Identity()
    network.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    with torch.no_grad():
        expected = network.eval()(normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))).mean(dim=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_close_and_half_the_size(split, weights: Path) -> None:
    full, half = load(split, weights), load(split, weights, PRECISION="half")
    for layer, array in arrays(half).items():
        assert array.dtype == np.float16
        difference = np.linalg.norm(array - arrays(full)[layer]) / np.linalg.norm(arrays(full)[layer])
        assert 0 < difference < 0.02
    assert half.details["precision"] == "half, stored as float16"


def test_more_than_float16_holds(split, weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "layer4.1.bn2.bias": torch.full((512,), 1e5)}, tmp_path / "large.pth")
    load(split, tmp_path / "large.pth", LAYERS=["avgpool"])
    with pytest.raises(InputError, match=r"not finite.*exceed float16's 65504: FEATURES.PRECISION full"):
        load(split, tmp_path / "large.pth", PRECISION="half", LAYERS=["avgpool"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PRECISION": "double"}, "FEATURES.PRECISION 'double' is unknown. Give full or half"),
        ({"BATCH_SIZE": 0}, "FEATURES.BATCH_SIZE 0 must be at least 1"),
        ({"TRANSFORM": "ten_crop", "REESTIMATE_BN": True}, "REESTIMATE_BN True and .* ten_crop do not go together"),
        ({"LAYERS": ["res5"]}, "layer res5 of a 64 px image is 2 x 2"),
    ],
)
def test_refused_settings(split, weights: Path, changes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(split, weights, **changes)
