"""Operations on batches: every pixel as Pillow makes it, a magnitude for each crop."""

import numpy as np
import pytest
import torch
from PIL import Image

from clsa.pretrain.augment import VOCABULARY, apply, build_views
from clsa.pretrain.batched_augment import BATCHED, CODES, apply_batch, encode
from clsa.pretrain.batched_operations import hue
from clsa.pretrain.config import get_cfg

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
#: Ranges to test beyond those that are drawn; the others are tested over their own.
RANGES = {
    "Brightness": (0, 2),
    "Contrast": (0, 2),
    "Color": (0, 2),
    "Sharpness": (0, 2),
    "Hue": (-0.5, 0.5),
    "Blur": (0.1, 4.0),
}


def crops(count: int, side: int, chance: np.random.Generator) -> np.ndarray:
    """uint8 count x side x side x 3: smooth ones, noisy ones, of little contrast, and one flat."""
    made = []
    for number in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
        if number % 2:
            pixels = pixels + chance.integers(-30, 31, pixels.shape)
        if number % 3 == 0:
            low, high = sorted(chance.integers(0, 256, 2))
            pixels = low + pixels.clip(0, 255) * (high - low) // 255
        made.append(pixels.clip(0, 255).astype(np.uint8))
    made[-1][:] = 77
    return np.stack(made)


def by_pillow(pixels: np.ndarray, operations: list) -> np.ndarray:
    return np.stack([np.asarray(apply(Image.fromarray(p), o)) for p, o in zip(pixels, operations, strict=True)])


def test_every_operation_but_identity_has_a_batched_form():
    codes = sorted(code for operation in BATCHED for code in operation.codes)
    assert codes == [code for name, code in CODES.items() if name != "Identity"]
    assert len(VOCABULARY) == len(CODES) == 19


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", [57, 80])
@pytest.mark.parametrize("operation", VOCABULARY, ids=lambda operation: operation.name)
def test_an_operation_is_pillows_to_the_last_bit(operation, side, device):
    chance = np.random.default_rng(CODES[operation.name])
    pixels = crops(16, side, chance)
    if operation.name in RANGES:
        magnitudes = [*chance.uniform(*RANGES[operation.name], 14).tolist(), *RANGES[operation.name]]
    else:
        magnitudes = [operation.draw(chance, "uniform") for _ in range(15)] + [operation.low]
    expected = by_pillow(pixels, [((operation, magnitude),) for magnitude in magnitudes])
    codes = torch.full((16, 1), CODES[operation.name], dtype=torch.uint8)
    result = apply_batch(torch.from_numpy(pixels).to(device), codes, torch.tensor(magnitudes).double()[:, None])
    np.testing.assert_array_equal(result.cpu().numpy(), expected)


@pytest.mark.parametrize("shift", [0, 25, -37])
def test_hue_of_colours_from_the_whole_cube(shift):
    """Every fifth value of each channel: grays, pure colours, all orders of the channels."""
    values = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(values, values, values, indexing="ij"), axis=-1).reshape(52, 52 * 52, 3)
    turns = (shift + 0.5 * np.sign(shift)) / 255  # truncated towards zero by torchvision
    expected = np.asarray(next(o for o in VOCABULARY if o.name == "Hue").apply(Image.fromarray(cube), turns))
    result = hue(torch.from_numpy(cube[None]), torch.tensor([[float(shift)]]))
    np.testing.assert_array_equal(result[0].numpy(), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weak_first", [False, True])
def test_whole_views_from_the_same_draws(weak_first, device):
    cfg = get_cfg()
    cfg.STRONG.WEAK_FIRST, cfg.WEAK.SIZE, cfg.STRONG.SIZES = weak_first, 48, (40,)
    for number, view in enumerate(build_views(cfg)):
        chance = np.random.default_rng(number)
        pixels = crops(40, view.size, chance)
        drawn = [view.draw((500, 375), chance) for _ in pixels]
        result = apply_batch(torch.from_numpy(pixels).to(device), *encode(drawn))
        np.testing.assert_array_equal(result.cpu().numpy(), by_pillow(pixels, [d.operations for d in drawn]))


def test_the_crops_that_were_given_stay_as_they_are():
    pixels = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    inverted = apply_batch(pixels, torch.tensor([[CODES["Invert"]]], dtype=torch.uint8), torch.zeros(1, 1).double())
    assert inverted.unique().tolist() == [255]
    assert pixels.unique().tolist() == [0]
