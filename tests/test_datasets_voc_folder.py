"""VOC's lists and annotations: what is read, and what is refused with which words."""

from pathlib import Path

import pytest

from clsa.configs.command import InputError
from clsa.datasets.voc_folder import VOCObject, image_path, read_annotation, read_class_labels, read_image_ids

BOX = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>10</xmax><ymax>12</ymax></bndbox>"


def voc_dir(tmp_path: Path, objects: str = "", size: str = "<width>20</width><height>30</height>") -> Path:
    folder = tmp_path / "VOC2007"
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    annotation = f"<annotation><size>{size}</size>{objects}</annotation>"
    (folder / "Annotations" / "000001.xml").write_text(annotation)
    return folder


def write_list(folder: Path, name: str, text: str) -> None:
    (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(text)


def test_an_annotation(tmp_path: Path) -> None:
    objects = (
        "<object><name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>"
        f"<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>{BOX}</object>"
        "<object><name>anything</name><difficult>1</difficult>"
        "<bndbox><xmax>20</xmax><xmin>1</xmin><ymin>45.70000076293945</ymin><ymax>50.0</ymax></bndbox></object>"
    )
    annotation = read_annotation(voc_dir(tmp_path, objects), "000001")
    assert (annotation.image_id, annotation.width, annotation.height) == ("000001", 20, 30)
    assert annotation.objects == (
        VOCObject("dog", (5, 6, 10, 12), difficult=False, truncated=True, pose="Left"),
        VOCObject("anything", (1, 45.70000076293945, 20, 50), difficult=True, truncated=False, pose="Unspecified"),
    )
    assert [type(side) for side in annotation.objects[1].box] == [int, float, int, int]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ("<object><name>dog</name></object>", r"object 1 \(dog\) has no <bndbox>"),
        (f"<object>{BOX}</object>", "object 1 has no <name>"),
        (f"<object><name>cat</name>{BOX.replace('5', 'five')}</object>", "has xmin 'five' in its <bndbox>"),
        (f"<object><name>cat</name>{BOX.replace('5', 'nan')}</object>", "has xmin 'nan' in its <bndbox>"),
        (f"<object><name>cat</name>{BOX.replace('<ymax>12</ymax>', '')}</object>", "has ymax '' in its <bndbox>"),
        (f"<object><name>cat</name>{BOX.replace('5', '11')}</object>", "ends before it begins: 11, 6, 10, 12"),
        (f"<object><name>cat</name><difficult>yes</difficult>{BOX}</object>", "<difficult> 'yes'. 0 or 1"),
        ("<object>", "is not readable XML"),
    ],
)
def test_annotations_that_are_refused(tmp_path: Path, objects: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_annotation(voc_dir(tmp_path, objects), "000001")
    assert "000001.xml" in str(error.value)


@pytest.mark.parametrize("size", ["<width>20</width>", "<width>20</width><height>tall</height>"])
def test_an_annotation_without_size(tmp_path: Path, size: str) -> None:
    with pytest.raises(InputError, match="<size/height> is"):
        read_annotation(voc_dir(tmp_path, size=size), "000001")


def test_an_annotation_of_size_zero(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the image size is 0 x 30"):
        read_annotation(voc_dir(tmp_path, size="<width>0</width><height>30</height>"), "000001")


def test_xml_entities_are_not_expanded(tmp_path: Path) -> None:
    folder = voc_dir(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("do not read me")
    (folder / "Annotations" / "000001.xml").write_text(
        f'<!DOCTYPE a [<!ENTITY leak SYSTEM "file://{secret}">]><annotation><folder>&leak;</folder></annotation>'
    )
    with pytest.raises(InputError, match="declares XML entities or a DTD"):
        read_annotation(folder, "000001")


def test_a_missing_annotation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"000002\.xml does not exist"):
        read_annotation(voc_dir(tmp_path), "000002")


def test_image_lists(tmp_path: Path) -> None:
    folder = voc_dir(tmp_path)
    write_list(folder, "train", "000005\n\n000003\n")
    assert read_image_ids(folder, "train") == ["000005", "000003"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train\.txt lists no image"),
        ("000005\n000003 1\n", "line 2: '000003 1' is not one image id"),
        ("000005\n000005\n", "line 2: image 000005 is listed twice"),
        ("../../etc/passwd\n", r"line 1 names '../../etc/passwd'.* must not leave"),
        ("..\n", r"line 1 names '..'"),
    ],
)
def test_image_lists_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = voc_dir(tmp_path)
    write_list(folder, "train", text)
    with pytest.raises(InputError, match=message):
        read_image_ids(folder, "train")


def test_a_missing_list_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no VOCdevkit/ in between") as error:
        read_image_ids(tmp_path / "VOC2007", "trainval")
    assert str(tmp_path / "VOC2007" / "ImageSets" / "Main" / "trainval.txt") in str(error.value)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    folder = voc_dir(tmp_path)
    (folder / "ImageSets" / "Main" / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not a text file"):
        read_image_ids(folder, "train")


def test_class_labels(tmp_path: Path) -> None:
    folder = voc_dir(tmp_path)
    write_list(folder, "cat_test", "000001 -1\n000002  1\n000004  0\n")
    assert read_class_labels(folder, "cat", "test") == {"000001": -1, "000002": 1, "000004": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels no image"),
        ("000001 2\n", "line 1: '000001 2' is not an image id and 1, -1 or 0"),
        ("000001 1\n000002\n", "line 2: '000002' is not an image id and"),
        ("000001 1\n000001 1\n", "line 2: image 000001 is labelled twice"),
    ],
)
def test_class_labels_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = voc_dir(tmp_path)
    write_list(folder, "cat_test", text)
    with pytest.raises(InputError, match=message):
        read_class_labels(folder, "cat", "test")


@pytest.mark.parametrize("name", ["", "..", "/etc/passwd", "a/b", "a\\b", "C:x", "a\0"])
def test_no_id_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="must not leave its folder"):
        image_path(tmp_path, name)
    with pytest.raises(InputError, match="must not leave its folder"):
        read_annotation(tmp_path, name)
    with pytest.raises(InputError, match="must not leave its folder"):
        read_image_ids(tmp_path, name)
    with pytest.raises(InputError, match="must not leave its folder"):
        read_class_labels(tmp_path, name, "test")


def test_image_path() -> None:
    assert image_path("VOC2007", "2008_000001") == Path("VOC2007/JPEGImages/2008_000001.jpg")
