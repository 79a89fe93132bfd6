"""Pascal VOC's folder, read strictly: image lists, annotations, per-class labels.

``VOC2007/{Annotations/ID.xml, ImageSets/Main/SPLIT.txt, ImageSets/Main/CLASS_SPLIT.txt, JPEGImages/ID.jpg}``.
Whatever a file says, no path that is built from it leaves the folder; XML is parsed without entities.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from clsa.configs.command import InputError


@dataclass(frozen=True)
class VOCObject:
    """One annotated object.

    ``box`` is (xmin, ymin, xmax, ymax) as the file has it: pixels counted from 1, both ends inside. Integers, except
    in the few files of VOC2012 whose boxes have fractions (``45.70000076293945``): those stay floats, unrounded.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool
    truncated: bool
    pose: str


@dataclass(frozen=True)
class VOCAnnotation:
    """Size in pixels and objects, in file order, of one image."""

    image_id: str
    width: int
    height: int
    objects: tuple[VOCObject, ...]


def read_image_ids(voc_dir: str | os.PathLike, split: str) -> list[str]:
    """Image ids of ``train``, ``val``, ``trainval`` or ``test``, in file order.

    Raises:
        InputError: the list is missing, empty, names an image twice, or has a line that is no image id.
    """
    path = split_path(voc_dir, split)
    ids: dict[str, None] = {}
    for number, words in _lines(path):
        if len(words) != 1:
            raise InputError(f"{path}, line {number}: {' '.join(words)!r} is not one image id. Put one a line.")
        image_id = _file_name(words[0], f"{path}, line {number}")
        if image_id in ids:
            raise InputError(f"{path}, line {number}: image {image_id} is listed twice. Remove one of the lines.")
        ids[image_id] = None
    if not ids:
        raise InputError(f"{path} lists no image. Put one image id a line into it, or choose another split.")
    return list(ids)


def read_class_labels(voc_dir: str | os.PathLike, class_name: str, split: str) -> dict[str, int]:
    """Image id -> 1 present, -1 absent, 0 only difficult ones present; in file order.

    Raises:
        InputError: the file is missing or empty, a line is no ``ID LABEL`` pair, an image is labelled twice.
    """
    path = split_path(voc_dir, f"{_file_name(class_name, 'the class list')}_{split}")
    labels: dict[str, int] = {}
    for number, words in _lines(path):
        if len(words) != 2 or words[1] not in ("1", "-1", "0"):
            raise InputError(f"{path}, line {number}: {' '.join(words)!r} is not an image id and 1, -1 or 0")
        image_id = _file_name(words[0], f"{path}, line {number}")
        if image_id in labels:
            raise InputError(f"{path}, line {number}: image {image_id} is labelled twice. Remove one of the lines.")
        labels[image_id] = int(words[1])
    if not labels:
        raise InputError(f"{path} labels no image. It needs one line for each image of {split}.txt.")
    return labels


def read_annotation(voc_dir: str | os.PathLike, image_id: str) -> VOCAnnotation:
    """Read ``Annotations/IMAGE_ID.xml``. Class names are returned as they are: the caller knows which it wants.

    A missing ``<pose>`` reads as ``"Unspecified"``, a missing ``<truncated>`` or ``<difficult>`` as false, as in VOC's
    own development kit.

    Raises:
        InputError: no such file, broken XML, XML with entities, no size, an object without name or box, a box
            coordinate that is no number, a box that ends before it begins.
    """
    path = annotation_path(voc_dir, image_id)
    try:
        root = ElementTree.parse(path, forbid_dtd=True).getroot()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist, yet {image_id} is listed. Complete Annotations/.") from error
    except DefusedXmlException as error:
        raise InputError(f"{path} declares XML entities or a DTD, as no VOC file does. Not read: {error}") from error
    except (ParseError, OSError, ValueError) as error:
        raise InputError(f"{path} is not readable XML: {error}. Replace it with a whole copy.") from error

    width, height = (_integer(root, f"size/{side}", path) for side in ("width", "height"))
    if width <= 0 or height <= 0:
        raise InputError(f"{path}: the image size is {width} x {height}. It must be that of {image_id}.jpg.")
    objects = tuple(_object(element, number, path) for number, element in enumerate(root.findall("object"), 1))
    return VOCAnnotation(image_id, width, height, objects)


def split_path(voc_dir: str | os.PathLike, split: str) -> Path:
    """``ImageSets/Main/SPLIT.txt``."""
    return Path(voc_dir) / "ImageSets" / "Main" / f"{_file_name(split, 'the split name')}.txt"


def annotation_path(voc_dir: str | os.PathLike, image_id: str) -> Path:
    """``Annotations/IMAGE_ID.xml``."""
    return Path(voc_dir) / "Annotations" / f"{_file_name(image_id, 'the image list')}.xml"


def image_path(voc_dir: str | os.PathLike, image_id: str) -> Path:
    """``JPEGImages/IMAGE_ID.jpg``; always inside ``voc_dir``, or an ``InputError``."""
    return Path(voc_dir) / "JPEGImages" / f"{_file_name(image_id, 'the image list')}.jpg"


def _object(element: Element, number: int, path: Path) -> VOCObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{path}: object {number} has no <name>. Give it the name of its class, or remove it.")
    where = f"{path}: object {number} ({name})"
    box_element = element.find("bndbox")
    if box_element is None:
        raise InputError(f"{where} has no <bndbox>. Give it a box, or remove the object.")
    xmin, ymin, xmax, ymax = (_coordinate(box_element, side, where) for side in ("xmin", "ymin", "xmax", "ymax"))
    if xmax < xmin or ymax < ymin:
        raise InputError(f"{where} has a box that ends before it begins: {xmin}, {ymin}, {xmax}, {ymax}. Correct it.")
    return VOCObject(
        name=name,
        box=(xmin, ymin, xmax, ymax),
        difficult=_flag(element, "difficult", where),
        truncated=_flag(element, "truncated", where),
        pose=(element.findtext("pose") or "Unspecified").strip(),
    )


def _coordinate(box: Element, side: str, where: str) -> float:
    text = (box.findtext(side) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where} has {side} {text!r} in its <bndbox>. An integer pixel coordinate is needed.")
    return int(value) if value.is_integer() else value


def _flag(element: Element, name: str, where: str) -> bool:
    text = (element.findtext(name) or "0").strip()
    if text not in ("0", "1"):
        raise InputError(f"{where} has <{name}> {text!r}. 0 or 1 is needed.")
    return text == "1"


def _integer(root: Element, name: str, path: Path) -> int:
    text = (root.findtext(name) or "").strip()
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{path}: <{name}> is {text!r}. The image's size in whole pixels is needed.") from error


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number (from 1) and words of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        voc_dir = path.parents[2]
        raise InputError(
            f"{path} cannot be read ({error.strerror}). Looked for ImageSets/Main in {voc_dir}; there must be no "
            f"VOCdevkit/ in between: ROOT/{voc_dir.name}/ImageSets/Main, and DETECTRON2_DATASETS names ROOT."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error}. Replace it with a whole copy.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.split():
            yield number, words


def _file_name(name: str, origin: str) -> str:
    """``name`` itself if it can only be a file right in its folder."""
    if name in ("", ".", "..") or any(character in name for character in "/\\:\0"):
        raise InputError(f"{origin} names {name!r}, which is no plain file name: a path must not leave its folder")
    return name
