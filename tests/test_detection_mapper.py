"""Images and annotations as the model sees them, and the order in which training sees them."""

import importlib.util
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from clsa.configs.command import InputError
from clsa.detection.config import get_cfg
from clsa.detection.dataset_dicts import XYWH, XYXY
from clsa.detection.loader import evaluation_batches, image_stream, plan_batches, training_batches
from clsa.detection.mapper import DetectionMapper, map_annotations, resized_shape

SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
WITH_DETECTRON2 = pytest.mark.skipif(
    importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed"
)


def small_cfg(**changes):
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (40, 48, 64)
    cfg.INPUT.MIN_SIZE_TEST = 48
    cfg.INPUT.MAX_SIZE_TRAIN = cfg.INPUT.MAX_SIZE_TEST = 90
    cfg.DATASETS.TRAIN = ("some_train",)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 2
    for key, value in changes.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


@pytest.fixture
def record(tmp_path):
    """A photograph of 100 x 80 noise with a COCO object, a VOC one and a crowd."""
    path = tmp_path / "noise.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    return {
        "file_name": str(path),
        "image_id": 17,
        "height": 80,
        "width": 100,
        "annotations": [
            {"category_id": 3, "bbox": [10.1, 10.2, 20.3, 20.4], "bbox_mode": XYWH, "segmentation": [list(SQUARE)]},
            {"category_id": 1, "bbox": [-5.0, 70.0, 20.0, 95.0], "bbox_mode": XYXY, "segmentation": [list(SQUARE)]},
            {"category_id": 2, "bbox": [0, 0, 50, 50], "bbox_mode": XYWH, "iscrowd": 1},
        ],
    }


@pytest.mark.parametrize(
    ("size", "short", "limit", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 1066.67 is rounded
        ((640, 480), 800, 1333, (1067, 800)),
        ((333, 1000), 800, 1333, (444, 1333)),  # the longer side decides
        ((100, 100), 64, 1333, (64, 64)),
        ((2, 5), 5, 1333, (5, 13)),  # 12.5 is rounded up
        ((77, 99), 0, 1333, (77, 99)),
    ],
)
def test_resized_shape(size, short, limit, expected):
    assert resized_shape(*size, short, limit) == expected


def test_annotations_follow_the_image(record):
    mapped = map_annotations(record, height=160, width=200, flip=False, with_polygons=True)
    assert mapped["gt_boxes"].dtype == torch.float32
    torch.testing.assert_close(mapped["gt_boxes"], torch.tensor([[20.2, 20.4, 60.8, 61.2], [0.0, 140.0, 40.0, 160.0]]))
    assert mapped["gt_classes"].tolist() == [3, 1]  # no crowd
    assert mapped["gt_polygons"][0][0].tolist() == [2 * v for v in SQUARE]


def test_flip_mirrors_boxes_and_polygons(record):
    mapped = map_annotations(record, height=80, width=100, flip=True, with_polygons=True)
    torch.testing.assert_close(mapped["gt_boxes"][0], torch.tensor([69.6, 10.2, 89.9, 30.6]))
    assert mapped["gt_polygons"][0][0].tolist() == [90.0, 10.0, 70.0, 10.0, 70.0, 30.0, 90.0, 30.0]


def test_boxes_without_area_are_dropped(record):
    record["annotations"] = [
        {"category_id": 0, "bbox": [10, 10, 0, 5], "bbox_mode": XYWH},
        {"category_id": 1, "bbox": [120, 10, 20, 20], "bbox_mode": XYWH},  # right of the image
        {"category_id": 2, "bbox": [10, 10, 5, 5], "bbox_mode": XYWH},
    ]
    assert map_annotations(record, 80, 100, False, False)["gt_classes"].tolist() == [2]
    record["annotations"] = []
    assert map_annotations(record, 80, 100, False, False)["gt_boxes"].shape == (0, 4)


def test_evaluation_image_is_pillows_resize(record):
    mapped = DetectionMapper(small_cfg(), is_train=False)(record, np.random.default_rng(0))
    with Image.open(record["file_name"]) as image:
        expected = np.asarray(image.convert("RGB").resize((60, 48), Image.Resampling.BILINEAR))
    assert mapped["image"].dtype == torch.uint8
    assert np.array_equal(mapped["image"].numpy(), expected.transpose(2, 0, 1))
    assert (mapped["height"], mapped["width"], mapped["image_id"]) == (80, 100, 17)
    assert "gt_boxes" not in mapped
    bgr = DetectionMapper(small_cfg(INPUT__FORMAT="BGR"), is_train=False)(record, np.random.default_rng(0))
    assert torch.equal(bgr["image"], mapped["image"].flip(0))


def test_equal_generators_give_equal_images(record):
    mapper = DetectionMapper(small_cfg(), is_train=True)
    seen = set()
    for place in range(20):
        one = mapper(record, np.random.default_rng([5, place]))
        two = mapper(record, np.random.default_rng([5, place]))
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["gt_boxes"], two["gt_boxes"])
        seen.add((tuple(one["image"].shape), bool(one["gt_boxes"][1, 0] == 0)))
    assert {shape for shape, _ in seen} == {(3, 40, 50), (3, 48, 60), (3, 64, 80)}
    assert {at_left for _, at_left in seen} == {True, False}  # flipped and not


def test_range_of_sizes(record):
    mapper = DetectionMapper(
        small_cfg(INPUT__MIN_SIZE_TRAIN=(40, 43), INPUT__MIN_SIZE_TRAIN_SAMPLING="range"), is_train=True
    )
    heights = {mapper(record, np.random.default_rng(i))["image"].shape[1] for i in range(60)}
    assert heights == {40, 41, 42, 43}
    with pytest.raises(InputError, match=r"needs \(least, greatest\)"):
        DetectionMapper(small_cfg(INPUT__MIN_SIZE_TRAIN_SAMPLING="range"), is_train=True)


def test_exif_orientation_is_applied(record, tmp_path):
    path = tmp_path / "turned.jpg"
    with Image.open(record["file_name"]) as image:
        exif = image.getexif()
        exif[274] = 6  # the camera was turned: 100 x 80 stored, 80 x 100 shown
        image.save(path, exif=exif, quality=95)
    turned = {**record, "file_name": str(path), "height": 100, "width": 80}
    mapped = DetectionMapper(small_cfg(INPUT__MIN_SIZE_TEST=0), is_train=False)(turned, np.random.default_rng(0))
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB").transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(mapped["image"].numpy(), expected.transpose(2, 0, 1))


def test_bad_images(record):
    mapper = DetectionMapper(small_cfg(), is_train=True)
    with pytest.raises(InputError, match=r"has 100 x 80 pixels, its annotation says 100 x 81"):
        mapper({**record, "height": 81}, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"missing.jpg does not exist"):
        mapper({**record, "file_name": "missing.jpg"}, np.random.default_rng(0))


def test_masks_need_polygons(record):
    record["annotations"][0]["segmentation"] = {"size": [80, 100], "counts": b""}
    with pytest.raises(InputError, match=r"has a mask \(RLE\) in place of polygons"):
        map_annotations(record, 80, 100, False, with_polygons=True)
    del record["annotations"][0]["segmentation"]
    with pytest.raises(InputError, match="has no segmentation; MODEL"):
        map_annotations(record, 80, 100, False, with_polygons=True)


@WITH_DETECTRON2
def test_equals_detectron2(record):
    from detectron2.data import DatasetMapper
    from detectron2.data import transforms as T

    cfg = small_cfg()
    ours = DetectionMapper(cfg, is_train=True)
    ours.with_polygons = True
    for place in range(12):
        mapped = ours(record, np.random.default_rng(place))
        short = min(mapped["image"].shape[1:])
        for flip in (0.0, 1.0):  # theirs draws elsewhere: find the one that matches
            theirs = DatasetMapper(
                is_train=True,
                augmentations=[T.ResizeShortestEdge(short, 90, "choice"), T.RandomFlip(flip)],
                image_format="RGB",
                use_instance_mask=True,
            )(record)
            if torch.equal(theirs["image"], mapped["image"]):
                break
        else:
            raise AssertionError("neither flip gives our image")
        instances = theirs["instances"]
        assert torch.equal(instances.gt_boxes.tensor, mapped["gt_boxes"])
        assert torch.equal(instances.gt_classes, mapped["gt_classes"])
        for a, b in zip(instances.gt_masks.polygons, mapped["gt_polygons"], strict=True):
            np.testing.assert_array_equal(a[0], b[0])


@WITH_DETECTRON2
def test_order_equals_detectron2():
    from detectron2.data.samplers import TrainingSampler

    theirs = list(itertools.islice(TrainingSampler(7, seed=3), 40))
    assert list(itertools.islice(image_stream(7, 3), 40)) == theirs


def test_stream_shows_every_image_once_an_epoch():
    stream = list(itertools.islice(image_stream(10, seed=1), 30))
    assert [sorted(stream[i : i + 10]) for i in (0, 10, 20)] == [list(range(10))] * 3
    assert stream[:10] != stream[10:20]


def test_batches_hold_one_orientation():
    landscape = [True, False, True, True, False]
    for batch in itertools.islice(plan_batches(landscape, 2, 0, 0, 1, group=True), 50):
        assert len({landscape[image] for _, image in batch}) == 1
    mixed = list(itertools.islice(plan_batches(landscape, 2, 0, 0, 1, group=False), 50))
    assert [place for batch in mixed for place, _ in batch] == list(range(100))


def test_processes_share_the_stream():
    shares = [list(itertools.islice(plan_batches([True] * 9, 3, 0, rank, 2, True), 6)) for rank in range(2)]
    places = sorted(place for share in shares for batch in share for place, _ in batch)
    assert places == list(range(36))


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_loader_goes_on_where_it_was(record, workers):
    cfg = small_cfg(DATALOADER__NUM_WORKERS=workers)
    records = [{**record, "image_id": i} for i in range(5)]
    whole = list(itertools.islice(training_batches(small_cfg(), records, seed=9, start=0), 8))
    rest = list(itertools.islice(training_batches(cfg, records, seed=9, start=5), 3))
    for ours, theirs in zip(rest, whole[5:], strict=True):
        assert [x["image_id"] for x in ours] == [x["image_id"] for x in theirs]
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(ours, theirs, strict=True))


def test_images_without_objects_are_left_out(record):
    crowd_only = {**record, "image_id": 0, "annotations": record["annotations"][2:]}
    batches = training_batches(small_cfg(), [crowd_only, {**record, "image_id": 1}], seed=0, start=0)
    assert {x["image_id"] for batch in itertools.islice(batches, 6) for x in batch} == {1}
    with pytest.raises(InputError, match="no image of some_train has an object"):
        training_batches(small_cfg(), [crowd_only], seed=0, start=0)


def test_batch_must_divide_among_processes(record):
    with pytest.raises(InputError, match="IMS_PER_BATCH is 2: it must be a multiple of the 3 processes"):
        training_batches(small_cfg(), [record], seed=0, start=0, rank=0, world_size=3)


def test_evaluation_batches_hold_one_size_and_every_image_once(record, tmp_path):
    tall = tmp_path / "tall.jpg"
    Image.new("RGB", (80, 100)).save(tall)
    records = [{**record, "image_id": i} for i in range(5)]
    records += [{**record, "image_id": 5 + i, "file_name": str(tall), "height": 100, "width": 80} for i in range(2)]
    seen = []
    for rank in range(2):
        batches = evaluation_batches(small_cfg(SOLVER__IMS_PER_BATCH=4), records, rank, 2)
        for batch in batches:
            assert len({x["image"].shape for x in batch}) == 1
            assert len(batch) <= 2
            seen += [x["image_id"] for x in batch]
    assert sorted(seen) == list(range(7))
