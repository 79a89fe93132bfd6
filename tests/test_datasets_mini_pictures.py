"""What is drawn: sizes as COCO counts them, masks that fit their figures, colours that tell nothing."""

import numpy as np
import pytest

from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.mini.chance import class_in_turn, generator
from clsa.datasets.mini.figures import DRAWINGS, draw_figure
from clsa.datasets.mini.pictures import LARGE_AREA, SMALL_AREA, coco_picture, voc_picture
from clsa.datasets.mini.scene import Scene
from clsa.datasets.mini.world import SIZES


@pytest.mark.parametrize("class_name", VOC_CLASSES)
def test_a_figure_is_whole_and_premultiplied(class_name: str) -> None:
    for seed in range(5):
        figure = draw_figure(class_name, np.random.default_rng(seed), 96)
        assert figure.shape == (96, 96, 4)
        assert 0.08 < (figure[..., 3] > 127).mean() < 0.8
        assert (figure[..., :3] <= figure[..., 3:]).all()
        border = np.concatenate([figure[0], figure[-1], figure[:, 0], figure[:, -1]])
        assert (border[:, 3] > 0).mean() < 0.1, "the figure runs out of its canvas"


def test_every_class_is_drawn() -> None:
    assert tuple(DRAWINGS) == VOC_CLASSES


def test_colours_do_not_tell_the_class() -> None:
    """By mean colour, nearest class mean, half the figures to learn from: little better than chance, which is 5 %."""
    means = np.empty((20, 30, 3))
    for i, class_name in enumerate(VOC_CLASSES):
        for j in range(30):
            figure = draw_figure(class_name, np.random.default_rng([i, j]), 48)
            means[i, j] = figure[figure[..., 3] > 250][:, :3].mean(axis=0)
    centers = means[:, :15].mean(axis=1)
    distances = np.linalg.norm(means[:, 15:, None] - centers, axis=-1)  # class, figure, center
    accuracy = (distances.argmin(axis=-1) == np.arange(20)[:, None]).mean()
    assert accuracy < 0.12


def test_an_area_that_is_asked_for_is_drawn() -> None:
    for seed in range(20):
        scene = Scene(np.random.default_rng(seed), 160, 160)
        class_name = VOC_CLASSES[seed]
        for area in (150, 1500):
            placed = scene.place(class_name, area=area, center=(80, 80))
            assert placed.full_area == pytest.approx(area, rel=0.25)
            assert scene.visible(placed).sum() == placed.full_area


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_shares_of_small_medium_and_large_objects(split: str) -> None:
    """Of the first pictures of the sizes tiny and small, which draw the same ones."""
    assert SIZES["tiny"].coco_sides == SIZES["small"].coco_sides
    areas = []
    for index in range(60):
        rng = generator(0, f"coco/{split}", index)
        side = int(rng.integers(*SIZES["small"].coco_sides, endpoint=True))
        areas += [shown.mask.sum() for shown in coco_picture(rng, side).shown if not shown.crowd]
    areas = np.array(areas)
    assert (areas < SMALL_AREA).mean() >= 0.3
    assert ((areas >= SMALL_AREA) & (areas <= LARGE_AREA)).mean() >= 0.3
    assert (areas > LARGE_AREA).mean() >= 0.1


def test_crowds_are_drawn_and_overlap_nobody() -> None:
    crowds = 0
    for index in range(40):
        shown = coco_picture(generator(0, "coco/train2017", index), 180).shown
        crowds += sum(item.crowd for item in shown)
        assert sum(item.mask.astype(int) for item in shown).max() == 1
    assert crowds >= 2


def test_the_main_object_of_a_voc_picture_is_to_be_seen() -> None:
    for index, class_name in enumerate(VOC_CLASSES):
        picture = voc_picture(generator(3, "VOC2007/trainval", index), class_name, 128)
        assert max(picture.image.shape) == 128
        main = picture.shown[0]
        assert main.class_name == class_name
        assert main.seen > 0.5


def test_each_class_once_in_twenty() -> None:
    first = [class_in_turn(0, "VOC2007/test", index) for index in range(20)]
    second = [class_in_turn(0, "VOC2007/test", index) for index in range(20, 40)]
    assert set(first) == set(second) == set(VOC_CLASSES)
    assert first != second
    assert first != [class_in_turn(1, "VOC2007/test", index) for index in range(20)]


def test_generators_differ_by_seed_split_and_index() -> None:
    draws = {
        generator(seed, split, index).integers(1 << 62)
        for seed in (0, 1)
        for split in ("VOC2007/test", "VOC2007/trainval")
        for index in (0, 1)
    }
    assert len(draws) == 8
