"""Pascal VOC's folder and result files, in COCO's form.

The form is that of :mod:`clsa.datasets.voc_coco_form`; ``clsa-detect`` evaluates VOC in the same one, and leaves it as
``inference/NAME_coco_form.json``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clsa.configs.command import InputError
from clsa.datasets.categories import VOC_CLASSES
from clsa.datasets.voc_coco_form import Difficult, to_coco_form
from clsa.datasets.voc_folder import annotation_path, read_annotation, read_image_ids


def voc_as_coco(voc_dir: Path, split: str, difficult: Difficult) -> dict[str, Any]:
    """A split as the content of a COCO annotation file, images numbered from 1 in the split's order, classes likewise.

    Raises:
        InputError: what :mod:`clsa.datasets.voc_folder` raises, or a class that VOC does not have.
    """
    annotations = [read_annotation(voc_dir, image_id) for image_id in read_image_ids(voc_dir, split)]
    for annotation in annotations:
        if unknown := {voc.name for voc in annotation.objects} - set(VOC_CLASSES):
            where = annotation_path(voc_dir, annotation.image_id)
            raise InputError(
                f"{where}: {min(unknown)!r} is none of VOC's {len(VOC_CLASSES)} classes. Correct its name."
            )
    return to_coco_form(annotations, VOC_CLASSES, difficult)


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
