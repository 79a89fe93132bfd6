"""The views: sizes, ranges, operations, and chance that comes from the generator alone."""

import pickle

import numpy as np
import pytest
from PIL import Image, ImageOps

from clsa.pretrain.augment import View, apply, build_views, crop_box, draw_jitter, draw_weak_operations
from clsa.pretrain.config import get_cfg
from clsa.pretrain.decoding import PillowImage
from clsa.pretrain.strong_augment import OPERATIONS, draw_operations


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC)


def pixels(image):
    return np.asarray(image).tolist()


def made(view, image, rng):
    """The view, drawn from ``rng`` and made by Pillow."""
    drawn = view.draw(image.size, rng)
    return apply(Image.fromarray(PillowImage(image).crop(drawn.box, view.size)), drawn.operations)


def operation(name):
    return next(operation for operation in OPERATIONS if operation.name == name)


@pytest.mark.parametrize(
    ("method", "sizes"), [("moco_v2", [224, 224]), ("clsa_single", [224, 224, 96]), ("clsa_multi", [224, 224, 40, 24])]
)
def test_only_the_views_in_use_each_of_its_size(image, method, sizes):
    cfg = get_cfg()
    cfg.METHOD = method
    if method == "clsa_multi":
        cfg.STRONG.SIZES, cfg.STRONG.SCALES = (40, 24), ((0.2, 1.0), (0.1, 0.5))
    views = pickle.loads(pickle.dumps(build_views(cfg)))  # as for a worker that is started afresh
    images = [made(view, image, np.random.default_rng(number)) for number, view in enumerate(views)]
    assert [(image.size, image.mode) for image in images] == [((size, size), "RGB") for size in sizes]


@pytest.mark.parametrize("weak_first", [False, True])
def test_a_view_depends_on_its_generator_alone(image, weak_first):
    cfg = get_cfg()
    cfg.STRONG.WEAK_FIRST = weak_first
    for view in build_views(cfg):
        first, again, other = (pixels(made(view, image, np.random.default_rng(seed))) for seed in (5, 5, 6))
        assert first == again
        assert first != other


def test_crops_lie_inside_and_have_the_area_and_aspect_asked_for():
    rng = np.random.default_rng(0)
    areas, aspects = [], []
    for _ in range(500):
        left, top, right, bottom = crop_box((400, 300), rng, (0.2, 0.5))
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        areas.append((right - left) * (bottom - top) / (400 * 300))
        aspects.append((right - left) / (bottom - top))
    assert 0.19 < min(areas) < 0.22
    assert 0.48 < max(areas) < 0.51
    assert 0.74 < min(aspects) < 0.78
    assert 1.30 < max(aspects) < 1.35


def test_a_crop_that_cannot_have_its_aspect_is_the_largest_centred_one():
    assert crop_box((400, 30), np.random.default_rng(0), (0.9, 1.0)) == (180, 0, 220, 30)
    assert crop_box((30, 400), np.random.default_rng(0), (0.9, 1.0)) == (0, 180, 30, 220)


def test_jitter_of_strength_zero_changes_nothing_and_brightness_stays_in_its_range():
    gray = Image.new("RGB", (4, 4), (100, 100, 100))
    assert pixels(apply(gray, draw_jitter(np.random.default_rng(0), (0.0, 0.0, 0.0, 0.0)))) == pixels(gray)
    jitters = [draw_jitter(np.random.default_rng(seed), (0.4, 0.0, 0.0, 0.0)) for seed in range(200)]
    values = [np.asarray(apply(gray, jitter)).max() for jitter in jitters]
    assert 60 <= min(values) < 65
    assert 135 < max(values) <= 140


def test_weak_operations_happen_with_their_probabilities(image):
    weak = get_cfg().WEAK
    weak.JITTER_PROB, weak.GRAY_PROB, weak.BLUR_PROB, weak.FLIP_PROB = 0.0, 0.0, 0.0, 1.0
    assert pixels(apply(image, draw_weak_operations(np.random.default_rng(0), weak))) == pixels(ImageOps.mirror(image))
    weak.FLIP_PROB, weak.GRAY_PROB = 0.0, 0.25
    grays = 0
    for seed in range(400):
        out = np.asarray(apply(image, draw_weak_operations(np.random.default_rng(seed), weak)))
        grays += bool((out[..., 0] == out[..., 1]).all() and (out[..., 1] == out[..., 2]).all())
    assert 70 <= grays <= 130


def test_the_table_of_strong_operations():
    ranges = {op.name: (op.low, op.high) for op in OPERATIONS}
    assert ranges == {
        "ShearX": (-0.3, 0.3),
        "ShearY": (-0.3, 0.3),
        "TranslateX": (-0.3, 0.3),
        "TranslateY": (-0.3, 0.3),
        "Rotate": (-30, 30),
        "AutoContrast": (0, 0),
        "Invert": (0, 0),
        "Equalize": (0, 0),
        "Solarize": (0, 256),
        "Posterize": (4, 8),
        "Contrast": (0.05, 0.95),
        "Color": (0.05, 0.95),
        "Brightness": (0.05, 0.95),
        "Sharpness": (0.05, 0.95),
    }


@pytest.mark.parametrize(
    ("name", "magnitude", "expected"),
    [
        ("Invert", 0.0, lambda x: 255 - x),
        ("Solarize", 100.5, lambda x: np.where(x < 100.5, x, 255 - x)),
        ("Posterize", 4, lambda x: x & 0xF0),
        ("Posterize", 8, lambda x: x),
        ("Brightness", 0.5, lambda x: (x * 0.5).astype(np.uint8)),
        ("Rotate", 0.0, lambda x: x),
        ("ShearX", 0.0, lambda x: x),
        ("TranslateX", 0.25, lambda x: np.concatenate([x[:, 20:], np.zeros_like(x[:, :20])], axis=1)),
        ("TranslateY", 0.25, lambda x: np.concatenate([x[15:], np.zeros_like(x[:15])], axis=0)),
    ],
)
def test_strong_operations_do_what_they_are_named_for(image, name, magnitude, expected):
    result = np.asarray(operation(name).apply(image, magnitude))
    np.testing.assert_array_equal(result, expected(np.asarray(image)))


def test_shear_moves_rows_by_their_height(image):
    """Row y shows what was at x + 0.25 * y (pixel centres)."""
    before, after = np.asarray(image), np.asarray(operation("ShearX").apply(image, 0.25))
    row = 38  # 0.25 * 38.5 = 9.625: nearest neighbour of x + 0.5 + 9.625
    np.testing.assert_array_equal(after[row, :60], before[row, 10:70])


def test_posterize_keeps_four_to_eight_bits():
    rng = np.random.default_rng(0)
    assert {operation("Posterize").draw(rng, "uniform") for _ in range(200)} == {4, 5, 6, 7, 8}


def test_each_operation_is_drawn_equally_often_and_its_magnitudes_fill_their_range():
    """Chi-square over 1e5 draws: 13 degrees of freedom, 34.5 is the 0.999 quantile."""
    strong = get_cfg().STRONG
    strong.ROUNDS, strong.PROB = 100_000, 1.0
    drawn = {op.name: [] for op in OPERATIONS}
    for op, magnitude in draw_operations(np.random.default_rng(0), strong):
        drawn[op.name].append(magnitude)
    expected = 100_000 / 14
    assert sum((len(values) - expected) ** 2 / expected for values in drawn.values()) < 34.5
    for op in OPERATIONS:
        values, width = np.array(drawn[op.name]), op.high - op.low
        assert op.low <= values.min() <= op.low + 0.01 * width
        assert op.high - 0.01 * width <= values.max() <= op.high
        assert abs(values.mean() - (op.low + op.high) / 2) <= 0.02 * width


def test_the_public_codes_pool_and_magnitudes():
    strong = get_cfg().STRONG
    strong.ROUNDS, strong.PROB, strong.POOL, strong.MAGNITUDES = 20_000, 1.0, "identity", "tenths"
    drawn = {}
    for op, magnitude in draw_operations(np.random.default_rng(0), strong):
        drawn.setdefault(op.name, set()).add(round(magnitude, 6))
    assert "Invert" not in drawn
    assert drawn["Identity"] == {0.0}
    assert drawn["Rotate"] == {3.0 * level * sign for level in range(1, 10) for sign in (-1, 1)}
    assert drawn["ShearX"] == {round(0.03 * level * sign, 6) for level in range(1, 10) for sign in (-1, 1)}
    assert drawn["Contrast"] == {round(0.05 + 0.09 * level, 6) for level in range(1, 10)}
    assert drawn["Posterize"] == {4, 5, 6, 7}  # 4 + int(0.4 * level)
    assert drawn["Solarize"] == {256 - int(25.6 * level) for level in range(1, 10)}


def test_operations_are_applied_with_their_probability(image):
    strong = get_cfg().STRONG
    drawn = [draw_operations(np.random.default_rng(seed), strong) for seed in range(560)]
    assert {len(operations) for operations in drawn} == {5}
    applied = [sum(op.name != "Identity" for op, _ in operations) for operations in drawn]
    assert 1300 <= sum(applied) <= 1500  # 560 * 5 / 2 = 1400
    assert max(applied) == 5
    strong.PROB = 0.0
    assert pixels(apply(image, draw_operations(np.random.default_rng(0), strong))) == pixels(image)


@pytest.mark.parametrize(("key", "query"), [(False, True), (True, True)])
def test_ablations_put_a_strong_view_in_the_place_of_a_weak_one(image, key, query):
    cfg = get_cfg()
    cfg.METHOD, cfg.WEAK.SIZE = "moco_v2", 40
    cfg.STRONG.AS_KEY, cfg.STRONG.AS_QUERY = key, query
    strong = View(40, cfg.WEAK.SCALE, strong=cfg.STRONG)
    for view, is_strong in zip(build_views(cfg), (key, query), strict=True):
        same = view.draw(image.size, np.random.default_rng(3)) == strong.draw(image.size, np.random.default_rng(3))
        assert same == is_strong


def test_weak_queries_of_several_sizes():
    cfg = get_cfg()
    cfg.METHOD, cfg.WEAK.SIZE = "clsa_multi", 48
    cfg.WEAK.QUERY_SIZES, cfg.WEAK.QUERY_SCALES = (40, 32), ((0.2, 1.0), (0.1, 0.5))
    cfg.STRONG.SIZES, cfg.STRONG.SCALES = (40, 32), ((0.2, 1.0), (0.1, 0.5))
    sizes = [view.size for view in build_views(cfg)]
    assert sizes == [48, 40, 32, 40, 32]


def test_what_is_drawn_in_what_order(image):
    """Seven weak operations, then, with WEAK_FIRST, five strong ones; the same whether or not they are applied."""
    cfg = get_cfg()
    cfg.STRONG.WEAK_FIRST = True
    weak, _, strong = build_views(cfg)
    jitter = {"Brightness", "Contrast", "Color", "Hue"}
    for seed in range(50):
        names = [op.name for op, _ in weak.draw(image.size, np.random.default_rng(seed)).operations]
        assert set(names[:4]) in (jitter, {"Identity"})
        assert [name in ("Identity", own) for name, own in zip(names[4:], ("Gray", "Blur", "Flip"), strict=True)] == [
            True
        ] * 3
        drawn = strong.draw(image.size, np.random.default_rng(seed))
        assert len(drawn.operations) == 12
