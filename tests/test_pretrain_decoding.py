"""Encoded images to crops: Pillow's, and the quicker decoder's beside them."""

import io
import sys

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional as TF

from clsa.configs.command import InputError
from clsa.pretrain.decoding import decode_with_pillow, decode_with_simplejpeg, decoder

BOX = (7, 5, 107, 80)


def photograph() -> Image.Image:
    chance = np.random.default_rng(0)
    coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((120, 90), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_pillows_crop_is_torchvisions():
    data = encoded(photograph(), "PNG")
    decoded = decode_with_pillow(data, "x")
    assert decoded.size == (120, 90)
    left, top, right, bottom = BOX
    expected = np.asarray(TF.resized_crop(photograph(), top, left, bottom - top, right - left, [32, 32]))
    np.testing.assert_array_equal(decoded.crop(BOX, 32), expected)


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "P")]
)
def test_simplejpeg_decodes_the_same_pixels_and_crops_nearly_so(kind, mode):
    pytest.importorskip("simplejpeg", reason="DATA.DECODER simplejpeg needs the package simplejpeg")
    data = encoded(photograph().convert(mode), kind)
    one, other = decode_with_pillow(data, "x"), decode_with_simplejpeg(data, "x")
    assert one.size == other.size
    np.testing.assert_array_equal(np.asarray(one.image), other.pixels[0].permute(1, 2, 0).numpy())
    crops = one.crop(BOX, 32).astype(int), other.crop(BOX, 32).astype(int)
    assert crops[1].shape == (32, 32, 3)
    assert np.abs(crops[0] - crops[1]).max() <= 1


@pytest.mark.parametrize("decode", [decode_with_pillow, decode_with_simplejpeg])
def test_what_is_cut_off_is_an_error_that_names_it(decode):
    if decode is decode_with_simplejpeg:
        pytest.importorskip("simplejpeg", reason="DATA.DECODER simplejpeg needs the package simplejpeg")
    data = encoded(photograph(), "JPEG")
    for broken in (data[:-200], data[:100], b"no image", b""):
        with pytest.raises(InputError, match=r"^image shard.tar:a.jpg cannot be read: "):
            decode(broken, "shard.tar:a.jpg")


def test_without_simplejpeg_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(
        InputError, match=r"DATA.DECODER simplejpeg needs the package simplejpeg: pip install simplejpeg"
    ):
        decoder("simplejpeg")
