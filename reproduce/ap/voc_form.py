"""Pascal VOC's folder and result files, in COCO's form.

A box (xmin, ymin, xmax, ymax), counted from 1 with both ends inside, becomes x = xmin - 1, y = ymin - 1, width = xmax -
xmin + 1, height = ymax - ymin + 1. The area that sorts objects by size is the box's: VOC has no mask of most objects.
``clsa-detect`` evaluates VOC in the same form, and leaves it as ``inference/NAME_coco_form.json``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_folder import annotation_path, read_annotation, read_image_ids

Difficult = Literal["ignored", "ordinary", "crowd"]

#: Outside every area range: neither a miss nor a find.
AREA_OF_IGNORED = -1.0


def voc_as_coco(voc_dir: Path, split: str, difficult: Difficult) -> dict[str, Any]:
    """A split as the content of a COCO annotation file, images numbered from 1 in the split's order, classes likewise.

    Args:
        difficult: what becomes of objects so marked: ``ignored`` (neither found nor missed, and a detection of one is
            no false alarm), ``ordinary`` (to be found like all others) or ``crowd`` (as COCO's ``iscrowd``).

    Raises:
        InputError: what :mod:`clsa.datasets.voc_folder` raises, or a class that VOC does not have.
    """
    number = {name: index for index, name in enumerate(VOC_CLASSES, 1)}
    images, annotations = [], []
    for image, image_id in enumerate(read_image_ids(voc_dir, split), 1):
        annotation = read_annotation(voc_dir, image_id)
        size = {"width": annotation.width, "height": annotation.height}
        images.append({"id": image, "file_name": f"{image_id}.jpg", **size})
        for voc in annotation.objects:
            if voc.name not in number:
                where = annotation_path(voc_dir, image_id)
                raise InputError(f"{where}: {voc.name!r} is none of VOC's {len(number)} classes. Correct its name.")
            xmin, ymin, xmax, ymax = voc.box
            width, height = xmax - xmin + 1, ymax - ymin + 1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": number[voc.name],
                    "bbox": [xmin - 1, ymin - 1, width, height],
                    "area": AREA_OF_IGNORED if voc.difficult and difficult == "ignored" else width * height,
                    "iscrowd": int(voc.difficult and difficult == "crowd"),
                }
            )
    return {
        "info": {"description": f"Pascal VOC in COCO's form; difficult objects: {difficult}; area: of the box"},
        "images": images,
        "categories": [{"id": index, "name": name, "supercategory": ""} for name, index in number.items()],
        "annotations": annotations,
    }


def read_voc_results(folder: Path, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """A folder of VOC's result files, one a class, ``comp4_det_test_CLASS.txt``, as COCO results by names.

    Lines are ``image_id score xmin ymin xmax ymax``, as the development kit and detectron2 write them.

    Raises:
        InputError: a class has no file or several, or a line is of another form.
    """
    results = []
    for name in class_names:
        paths = sorted(folder.glob(f"*_{name}.txt"))
        if len(paths) != 1:
            got = ", ".join(path.name for path in paths) or "none"
            raise InputError(
                f"{folder} must hold one file *_{name}.txt, it holds {got}. Name the folder of one set of VOC result "
                "files; a class of which nothing was found has an empty file."
            )
        for where, words in _lines(paths[0]):
            try:
                score, xmin, ymin, xmax, ymax = (float(word) for word in words[1:])
            except ValueError as error:
                got = " ".join(words)
                raise InputError(f"{where} is {got!r}. 'image_id score xmin ymin xmax ymax' is needed.") from error
            box = [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]
            results.append({"image_id": words[0], "category": name, "bbox": box, "score": score})
    return results


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Replace it with a whole copy.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.split():
            yield f"{path}, line {number}", words
