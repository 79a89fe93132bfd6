"""Masks as COCO writes them: what goes in comes out of pycocotools again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from clsa.datasets.mini.outlines import mask_to_box, mask_to_polygons, mask_to_runs


def rasterised(polygons: list[list[int]], height: int, width: int) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)


def test_a_rectangle() -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    (polygon,) = mask_to_polygons(mask)
    assert {tuple(corner) for corner in np.reshape(polygon, (-1, 2)).tolist()} == {(2, 1), (7, 1), (7, 4), (2, 4)}
    assert mask_to_box(mask) == [2, 1, 5, 3]


def test_runs_go_down_the_columns() -> None:
    mask = np.array([[False, True, True], [True, True, False]])
    assert mask_to_runs(mask) == {"size": [2, 3], "counts": [1, 4, 1]}
    assert mask_to_runs(~mask) == {"size": [2, 3], "counts": [0, 1, 4, 1]}


def test_a_ring_is_cut_where_its_hole_is() -> None:
    mask = np.ones((9, 9), bool)
    mask[3:6, 3:6] = False
    polygons = mask_to_polygons(mask)
    assert len(polygons) == 2
    assert (rasterised(polygons, 9, 9) == mask).all()


def test_two_parts_are_two_polygons() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:3, :3] = mask[3:9, 3:9] = True  # they touch at a corner only
    assert len(mask_to_polygons(mask)) == 2


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
def test_any_mask_comes_back(mask: np.ndarray) -> None:
    assert (rasterised(mask_to_polygons(mask), *mask.shape) == mask).all()
    assert (coco_mask.decode(coco_mask.frPyObjects(mask_to_runs(mask), *mask.shape)) == mask).all()
    rows, columns = np.nonzero(mask)
    x, y, width, height = mask_to_box(mask)
    assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
