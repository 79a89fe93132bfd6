"""The order of the images and their views: the same for any number of workers and processes, and at any start."""

import itertools
import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from clsa.configs.command import InputError
from clsa.configs.processes import Process
from clsa.pretrain.augment import View
from clsa.pretrain.batch_order import BatchOrder
from clsa.pretrain.cli import main
from clsa.pretrain.config import get_cfg
from clsa.pretrain.data import Normalise, ViewBatch, ViewDataset, augments_on_device, batches
from clsa.pretrain.decoding import DECODERS
from clsa.pretrain.seeding import Purpose, generator
from clsa.pretrain.skipped_images import SkippedImages
from clsa.pretrain.sources import ImageFiles

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def folder(tmp_path):
    chance = np.random.default_rng(0)
    for name in ("n01", "n02"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(5):
            pixels = chance.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / name / f"{number}.JPEG")
    return tmp_path / "train"


def small_config(**data):
    cfg = get_cfg()
    cfg.WEAK.SIZE, cfg.STRONG.SIZES, cfg.SOLVER.BATCH_SIZE = 16, (12,), 4
    cfg.DATA.WORKERS = data.get("workers", 0)
    return cfg


def source_of(folder):
    return ImageFiles([str(path) for path in sorted(folder.glob("*/*.JPEG"))])


def _is_shared(batch):
    return batch.pixels.is_shared()


def same(one, other):
    """Batches, pixel by pixel."""
    return all(
        torch.equal(a.pixels, b.pixels) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(folder, workers):
    broken = folder / "n01" / "3.JPEG"
    broken.write_bytes(broken.read_bytes()[:200])
    five_epochs = batches(small_config(workers=workers), source_of(folder), ALONE, 0, 10)
    with pytest.raises(InputError, match=rf"^image {broken} cannot be read: ") as caught:
        list(five_epochs)
    assert "Traceback" not in str(caught.value)


def test_views_depend_neither_on_workers_nor_on_the_start(folder):
    source = source_of(folder)
    whole = list(batches(small_config(), source, ALONE, 0, 5))
    with_workers = list(batches(small_config(workers=2), source, ALONE, 0, 5))
    from_step_3 = list(batches(small_config(), source, ALONE, 3, 5))  # in the middle of the second epoch of 2 steps
    assert [len(views) for views in whole] == [3] * 5
    assert [tuple(view.pixels.shape) for view in whole[0]] == [(4, 16, 16, 3), (4, 16, 16, 3), (4, 12, 12, 3)]
    assert whole[0][0].pixels.dtype == torch.uint8
    assert same(whole, with_workers)
    assert same(whole[3:], from_step_3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_travels_in_one_block_of_memory(folder, workers):
    views = next(batches(small_config(workers=workers), source_of(folder), ALONE, 0, 1))
    assert len({view.pixels.untyped_storage().data_ptr() for view in views}) == 1
    assert views[0].pixels.untyped_storage().nbytes() == 4 * 3 * (16 * 16 + 16 * 16 + 12 * 12)
    assert all(view.pixels.is_contiguous() for view in views)


def test_a_worker_writes_into_memory_that_it_shares(folder):
    """Then nothing is copied to send it."""
    dataset = ViewDataset(source_of(folder), [View(16, (0.2, 1.0))], 0, DECODERS["pil"])
    for workers in (0, 1):
        loader = DataLoader(dataset, None, sampler=[[(0, 2), (0, 3)]], num_workers=workers, collate_fn=_is_shared)
        assert list(loader) == [bool(workers)]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_device_makes_the_views_that_the_workers_make(folder, workers):
    """To the last bit, from crops that travel with what is to be done on them."""
    by_workers, by_device = small_config(workers=workers), small_config(workers=workers)
    by_workers.DATA.AUGMENT_ON, by_device.DATA.AUGMENT_ON = "workers", "device"
    normalise, source = Normalise(torch.device("cpu"), channels_last=True), source_of(folder)
    pairs = zip(batches(by_workers, source, ALONE, 0, 3), batches(by_device, source, ALONE, 0, 3), strict=True)
    for one, other in pairs:
        assert [view.codes.shape[1] for view in one] == [0, 0, 0]
        assert [view.codes.shape[1] for view in other] == [7, 7, 5]  # jitter 4, gray, blur, flip; five strong ones
        assert all(torch.equal(normalise(a), normalise(b)) for a, b in zip(one, other, strict=True))


def test_key_and_query_are_different_views_and_epochs_differ(folder):
    key, query, _ = next(batches(small_config(), source_of(folder), ALONE, 0, 1))
    assert not torch.equal(key.pixels, query.pixels)
    order = list(BatchOrder(10, 4, 0, 0, 4, ALONE))
    assert [epoch for batch in order for epoch, _ in batch] == [0] * 8 + [1] * 8
    first, second = ([i for batch in half for _, i in batch] for half in (order[:2], order[2:]))
    assert len(set(first)) == len(set(second)) == 8  # each image at most once an epoch
    assert first != second


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1)])
def test_an_epoch_goes_on_with_another_number_of_processes(before, after):
    """Stopped in its middle: no image twice, none left out, in the order of one process."""
    alone = list(BatchOrder(36, 6, 7, 0, 6, ALONE))
    shares = []
    for world, steps in ((before, (0, 4)), (after, (4, 6))):
        ranks = [list(BatchOrder(36, 6, 7, *steps, Process(rank, world, torch.device("cpu")))) for rank in range(world)]
        shares += [list(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)]
    assert shares == alone
    assert sorted(index for batch in shares for _, index in batch) == list(range(36))


def test_processes_share_each_batch_in_rank_order():
    alone = list(BatchOrder(30, 6, 7, 2, 9, ALONE))
    shares = [list(BatchOrder(30, 6, 7, 2, 9, Process(rank, 3, torch.device("cpu")))) for rank in range(3)]
    assert [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == alone


def test_random_streams_of_different_purposes_differ():
    draws = {purpose: generator(purpose, 0, 3, 0, 0).random() for purpose in Purpose}
    assert len(set(draws.values())) == len(Purpose)


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise_uses_imagenets_statistics(channels_last):
    pixels = torch.tensor([124, 116, 104], dtype=torch.uint8).repeat(2, 5, 5, 1)
    nothing = torch.empty(2, 0)
    images = Normalise(torch.device("cpu"), channels_last)(ViewBatch(pixels, nothing, nothing))
    assert images.shape == (2, 3, 5, 5)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=layout)
    expected = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    torch.testing.assert_close(images[1, :, 2, 3], torch.tensor(expected))


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_images_are_skipped_listed_and_counted(folder, tmp_path, workers, caplog):
    """Images 4 and 5 are bad: their places are filled, the others stay as they are."""
    source = source_of(folder)
    bad = [folder / "n01" / "4.JPEG", folder / "n02" / "0.JPEG"]
    good = [list(batch) for batch in batches(small_config(workers=workers), source, ALONE, 0, 2)]
    bad[0].write_bytes(bad[0].read_bytes()[:200])
    bad[1].unlink()
    cfg = small_config(workers=workers)
    cfg.DATA.SKIP_BAD = True
    skipped = SkippedImages(tmp_path, ALONE, 0)
    views = list(batches(cfg, source, ALONE, 0, 2, skipped))
    order = [index for batch in BatchOrder(10, 4, cfg.SEED, 0, 2, ALONE) for _, index in batch]
    assert {4, 5} <= set(order)
    for place, index in enumerate(order):
        before, after = (run[place // 4][0].pixels[place % 4] for run in (good, views))
        assert torch.equal(before, after) == (index not in (4, 5))
    assert skipped.count(logging.getLogger()) == 2
    lines = [line.split("\t") for line in (tmp_path / "skipped_images.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == [str(path) for path in bad]
    assert "cannot be read" in lines[0][1]
    assert "does not exist" in lines[1][1]
    assert "2 images cannot be read and are skipped, see" in caplog.text

    resumed = SkippedImages(tmp_path, ALONE, 2)
    resumed.note([(str(bad[0]), "again")])
    assert resumed.count(logging.getLogger()) == 2  # not listed twice
    assert SkippedImages(tmp_path, ALONE, 0).count(logging.getLogger()) == 0  # a new run begins the list
    assert not (tmp_path / "skipped_images.txt").exists()


def test_the_image_after_a_bad_one_takes_its_place(folder):
    source = source_of(folder)
    views = [View(16, (0.2, 1.0))]
    (folder / "n02" / "4.JPEG").write_bytes(b"no image")  # the last: the first follows
    dataset = ViewDataset(source, views, 0, DECODERS["pil"], skip_bad=True)
    batch = dataset[[(0, 9), (0, 2)]]
    drawn = views[0].draw((30, 20), generator(Purpose.VIEW, 0, 0, 9, 0))
    expected = DECODERS["pil"](source.read(0), "").crop(drawn.box, 16)
    np.testing.assert_array_equal(dataset.views_of(batch)[0].pixels[0], expected)
    assert [name for name, _ in batch.skipped] == [source.name(9)]


def test_a_source_without_a_readable_image_is_an_error_all_the_same(tmp_path):
    cfg = small_config()
    cfg.DATA.SKIP_BAD = True
    source = ImageFiles([str(tmp_path / f"{number}.jpg") for number in range(8)])
    with pytest.raises(InputError, match=rf"^8 images in a row cannot be read.*{tmp_path}/\d.jpg does not exist"):
        next(batches(cfg, source, ALONE, 0, 1))


def test_augmenting_on_a_gpu_if_there_is_one():
    cfg = get_cfg()
    assert [augments_on_device(cfg, torch.device(device)) for device in ("cpu", "cuda")] == [False, True]
    cfg.DATA.AUGMENT_ON = "workers"
    assert not augments_on_device(cfg, torch.device("cuda"))


def test_a_run_over_a_list_with_a_bad_image_counts_it(folder, tmp_path):
    names = [str(path.relative_to(folder)) for path in sorted(folder.glob("*/*.JPEG"))]
    (folder / "train.txt").write_text("\n".join(names))
    (folder / names[2]).write_bytes(b"no image")
    keys = {"DATA.TRAIN": folder / "train.txt", "DATA.SKIP_BAD": True, "DATA.WORKERS": 0, "DATA.AUGMENT_ON": "device"}
    keys |= {"MODEL.DEPTH": 18, "MODEL.HEAD_HIDDEN": 8, "MODEL.HEAD_OUTPUT": 8, "LOSS.QUEUE_LENGTH": 10}
    keys |= {"WEAK.SIZE": 32, "STRONG.SIZES": "(24,)", "SOLVER.BATCH_SIZE": 10, "SOLVER.MAX_ITER": 1}
    words = [str(word) for pair in keys.items() for word in pair]
    output = tmp_path / "output"
    assert (
        main(
            [
                "--config-file",
                "configs/pretrain/base_imagenet.yaml",
                "--num-gpus",
                "0",
                *words,
                "OUTPUT_DIR",
                str(output),
            ]
        )
        == 0
    )
    record = json.loads((output / "metrics.json").read_text().splitlines()[-1])
    assert record["skipped_images"] == 1
    assert (output / "skipped_images.txt").read_text().startswith(str(folder / names[2]))
