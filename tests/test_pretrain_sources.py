"""The images of a folder, of a list and of tar shards: the same order, the same bytes, and clear errors."""

import builtins
import hashlib
import io
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from clsa.configs.command import InputError
from clsa.pretrain.config import get_cfg
from clsa.pretrain.sources import find_images, open_source


@pytest.fixture
def folder(tmp_path):
    """train/{n01,n02}/{0..2}.JPEG"""
    chance = np.random.default_rng(0)
    for name in ("n01", "n02"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            pixels = chance.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / name / f"{number}.JPEG")
    return tmp_path / "train"


def opened(train, root=""):
    data = get_cfg().DATA
    data.TRAIN, data.ROOT = str(train), str(root)
    return open_source(data)


def contents(source):
    return [source.read(index) for index in range(len(source))]


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_folder_in_the_order_of_its_names(folder):
    source = opened(folder)
    assert [source.name(index) for index in range(6)] == [
        f"{folder}/{c}/{n}.JPEG" for c in ("n01", "n02") for n in range(3)
    ]
    assert contents(source)[4] == (folder / "n02" / "1.JPEG").read_bytes()


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


def test_a_list_in_its_own_order_with_and_without_labels(folder):
    names = ["n02/1.JPEG 17", "", "# a comment", "n01/0.JPEG", "n01/with space.JPEG", "n01/with space 2.JPEG 3"]
    (folder / "some.txt").write_text("\n".join(names))
    source = opened(folder / "some.txt")
    wanted = ["n02/1.JPEG", "n01/0.JPEG", "n01/with space.JPEG", "n01/with space 2.JPEG"]
    assert [source.name(index) for index in range(len(source))] == [f"{folder}/{name}" for name in wanted]
    assert source.read(0) == (folder / "n02" / "1.JPEG").read_bytes()
    with pytest.raises(InputError, match=r"image .*with space.JPEG does not exist"):
        source.read(2)


def test_a_list_elsewhere_with_a_root(folder, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "some.txt").write_text(f"n02/1.JPEG\n{folder}/n01/2.JPEG\n")
    source = opened(tmp_path / "lists" / "some.txt", folder)
    assert contents(source) == [(folder / name).read_bytes() for name in ("n02/1.JPEG", "n01/2.JPEG")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n01/0.JPEG\n../../secret.jpg\n", r"some.txt, line 2: ../../secret.jpg is not inside .*train. Set DATA.ROOT"),
        ("/etc/passwd\n", "line 1: /etc/passwd is not inside"),
        ("n01/0.JPEG\n\nn01/./0.JPEG 3\n", "lines 1 and 3 both name"),
        ("\n", "names no image"),
    ],
)
def test_lists_that_cannot_be_used(folder, text, message):
    (folder / "some.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        opened(folder / "some.txt")


def test_a_missing_list_or_root_is_named(folder):
    with pytest.raises(InputError, match=r"names the list .*none.txt, which does not exist"):
        opened(folder / "none.txt")
    (folder / "some.txt").write_text("n01/0.JPEG")
    with pytest.raises(InputError, match=r"DATA.ROOT '.*elsewhere' does not exist"):
        opened(folder / "some.txt", folder / "elsewhere")


def test_the_order_is_told_by_names_that_do_not_depend_on_where_the_folder_lies(folder, tmp_path, monkeypatch):
    names = [f"{c}/{n}.JPEG" for c in ("n01", "n02") for n in range(3)]
    expected = hashlib.sha256(b"".join(name.encode() + b"\0" for name in names)).hexdigest()
    assert opened(folder).order_sha256 == opened(f"{folder}/").order_sha256 == expected
    (folder / "all.txt").write_text("\n".join(names))
    assert opened(folder / "all.txt").order_sha256 == expected
    (tmp_path / "all.txt").write_text("\n".join([*names[:3], *(f"{folder}/{name}" for name in names[3:])]))
    assert opened(tmp_path / "all.txt", folder).order_sha256 == expected
    monkeypatch.chdir(folder)  # the list's folder is "." now
    shutil.copy(tmp_path / "all.txt", folder / "mixed.txt")
    assert opened("mixed.txt").order_sha256 == expected
    (folder / "all.txt").write_text("\n".join(reversed(names)))
    assert opened(folder / "all.txt").order_sha256 != expected
    shutil.move(folder, tmp_path / "elsewhere")
    assert opened(tmp_path / "elsewhere").order_sha256 == expected


@pytest.fixture
def shards(folder, tmp_path):
    """The folder's images in two shards, in WebDataset's layout, with labels, a note and a sample without an image."""
    pytest.importorskip("webdataset", reason="tar shards need the package webdataset")
    files = sorted(folder.glob("*/*.JPEG"))
    for number in range(2):
        members = [("__notes__", b"skipped"), ("none.cls", b"1")]
        for file in files[3 * number : 3 * number + 3]:
            key = f"{file.parent.name}_{file.stem}"
            members += [(f"{key}.cls", b"7"), (f"{key}.jpg", file.read_bytes()), (f"{key}.json", b"{}")]
        write_tar(tmp_path / f"mini-{number:06d}.tar", members)
    return tmp_path / "mini-{000000..000001}.tar"


def test_shards_hold_what_the_folder_holds(folder, shards):
    source = opened(shards)
    assert contents(source) == contents(opened(folder))
    assert source.name(4) == f"{str(shards).replace('{000000..000001}', '000001')}:n02_1.jpg"
    sent = pickle.loads(pickle.dumps(source))  # as for a worker that is started afresh, with files open
    assert contents(sent) == contents(source)
    first, second = (str(shards).replace("{000000..000001}", f"00000{number}") for number in range(2))
    assert contents(opened(f"{second}::{first}")) == contents(source)[3:] + contents(source)[:3]


def test_the_order_of_shards_is_told_by_what_is_in_them(shards, tmp_path):
    first, second = (str(shards).replace("{000000..000001}", f"00000{number}") for number in range(2))
    whole = opened(shards).order_sha256
    assert opened(f"{first}::{second}").order_sha256 == whole
    assert opened(f"{second}::{first}").order_sha256 != whole
    shutil.copy(first, tmp_path / "a.tar")  # renamed, in the same order
    assert opened(f"{tmp_path}/a.tar::{second}").order_sha256 == whole


def test_shards_are_what_webdatasets_own_reader_makes_of_them(shards):
    import webdataset

    samples = webdataset.WebDataset(str(shards), shardshuffle=False)
    assert contents(opened(shards)) == [sample["jpg"] for sample in samples if "jpg" in sample]


def test_shards_that_cannot_be_used(shards, folder, tmp_path):
    with pytest.raises(InputError, match=r"shard .*mini-000002.tar of DATA.TRAIN .* does not exist"):
        opened(str(shards).replace("01}", "02}"))
    with pytest.raises(InputError, match="names a shard twice"):
        opened(f"{shards}::{tmp_path}/mini-000001.tar")
    with pytest.raises(InputError, match=r"shard https://host/x.tar is no local file"):
        opened("https://host/x.tar")
    image = (folder / "n01" / "0.JPEG").read_bytes()
    write_tar(tmp_path / "packed.tar", [("a.jpg", image)], "w:gz")
    with pytest.raises(InputError, match=r"packed.tar cannot be read: .* must be an uncompressed tar file"):
        opened(tmp_path / "packed.tar")
    write_tar(tmp_path / "empty.tar", [("a.cls", b"1")])
    with pytest.raises(InputError, match=r"empty.tar holds no image. In WebDataset's layout it is <key>.jpg"):
        opened(tmp_path / "empty.tar")
    write_tar(tmp_path / "twice.tar", [("a.jpg", image), ("a.jpg", image)])
    with pytest.raises(InputError, match=r"twice.tar: a.jpg: duplicate file name"):
        opened(tmp_path / "twice.tar")
    write_tar(tmp_path / "cut.tar", [("a.jpg", image), ("b.jpg", image)])
    (tmp_path / "cut.tar").write_bytes((tmp_path / "cut.tar").read_bytes()[: 512 + len(image)])
    with pytest.raises(InputError, match=r"cut.tar cannot be read: .*whole to its end"):
        opened(tmp_path / "cut.tar")


def test_a_shard_that_was_cut_off_since(shards, tmp_path):
    source = opened(shards)
    (tmp_path / "mini-000001.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"mini-000001.tar:n02_2.jpg cannot be read: the shard was cut off"):
        source.read(5)


def test_without_webdataset_one_sentence_says_so(monkeypatch):
    usual = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("webdataset"):
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"need the package webdataset: pip install webdataset\.$"):
        opened("some-{0..1}.tar")
