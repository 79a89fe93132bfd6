"""The order of the images and their views: the same for any number of workers and processes, and at any start."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from clsa.configs.command import InputError
from clsa.pretrain.config import get_cfg
from clsa.pretrain.data import BatchOrder, Normalise, batches, find_images
from clsa.pretrain.distributed import Process
from clsa.pretrain.seeding import Purpose, generator

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


def test_images_are_found_in_order(folder):
    paths = find_images(str(folder))
    assert [path[len(str(folder)) :] for path in paths[:6]] == [f"/n01/{n}.JPEG" for n in range(5)] + ["/n02/0.JPEG"]


@pytest.mark.parametrize("name", ["", "no/such/folder"])
def test_a_missing_folder_is_named(name):
    with pytest.raises(InputError, match=f"data folder '{name}' does not exist. Set DATA.TRAIN to a folder"):
        find_images(name)


def test_a_folder_without_class_folders_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "lost.JPEG")
    with pytest.raises(InputError, match="is not laid out as <class>/<image>"):
        find_images(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"is not laid out as <class>/<image>.*empty"):
        find_images(str(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(folder, workers):
    broken = folder / "n01" / "3.JPEG"
    broken.write_bytes(broken.read_bytes()[:200])
    five_epochs = batches(small_config(workers=workers), find_images(str(folder)), ALONE, 0, 10)
    with pytest.raises(InputError, match=rf"^image {broken} cannot be read: ") as caught:
        list(five_epochs)
    assert "Traceback" not in str(caught.value)


def test_views_depend_neither_on_workers_nor_on_the_start(folder):
    paths = find_images(str(folder))
    whole = list(batches(small_config(), paths, ALONE, 0, 5))
    with_workers = list(batches(small_config(workers=2), paths, ALONE, 0, 5))
    from_step_3 = list(batches(small_config(), paths, ALONE, 3, 5))  # in the middle of the second epoch of 2 steps
    assert [len(views) for views in whole] == [3] * 5
    assert [tuple(view.shape) for view in whole[0]] == [(4, 16, 16, 3), (4, 16, 16, 3), (4, 12, 12, 3)]
    assert whole[0][0].dtype == torch.uint8
    for one, other in ((whole, with_workers), (whole[3:], from_step_3)):
        for views, others in zip(one, other, strict=True):
            assert all(map(torch.equal, views, others))


def test_key_and_query_are_different_views_and_epochs_differ(folder):
    key, query, _ = next(batches(small_config(), find_images(str(folder)), ALONE, 0, 1))
    assert not torch.equal(key, query)
    order = list(BatchOrder(10, 4, 0, 0, 4, ALONE))
    assert [epoch for batch in order for epoch, _ in batch] == [0] * 8 + [1] * 8
    first, second = ([i for batch in half for _, i in batch] for half in (order[:2], order[2:]))
    assert len(set(first)) == len(set(second)) == 8  # each image at most once an epoch
    assert first != second


def test_processes_share_each_batch_in_rank_order():
    alone = list(BatchOrder(30, 6, 7, 2, 9, ALONE))
    shares = [list(BatchOrder(30, 6, 7, 2, 9, Process(rank, 3, torch.device("cpu")))) for rank in range(3)]
    assert [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == alone


def test_random_streams_of_different_purposes_differ():
    draws = {purpose: generator(purpose, 0, 3, 0, 0).random() for purpose in Purpose}
    assert len(set(draws.values())) == len(Purpose)


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise_uses_imagenets_statistics(channels_last):
    view = torch.tensor([124, 116, 104], dtype=torch.uint8).repeat(2, 5, 5, 1)
    images = Normalise(torch.device("cpu"), channels_last)(view)
    assert images.shape == (2, 3, 5, 5)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=layout)
    expected = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    torch.testing.assert_close(images[1, :, 2, 3], torch.tensor(expected))
