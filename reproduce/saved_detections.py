"""What the detectors of a report left beside their results, read once; what cannot be used is named and left out."""

import re
from pathlib import Path

from clsa.configs.command import InputError

from .ap.annotations import GroundTruth, IouType, read_annotations
from .ap.results import Detections, read_results
from .gather import Gathered
from .measured import Measured

#: Below the folder of a result. Those of VOC name images and classes by text.
COCO_DETECTIONS = "inference/coco_instances_results.json"
VOC_DETECTIONS = "inference/detections.json"


def detections_file(measured: Measured) -> Path:
    """Where the detector left its detections; it need not be there."""
    is_coco = measured.result["metric_flavour"] == "COCO"
    return measured.folder / (COCO_DETECTIONS if is_coco else VOC_DETECTIONS)


class SavedDetections:
    """Annotations and detections of the results that a report is made from.

    Args:
        gathered: its ``left_out`` takes a sentence for each file that cannot be used.
        world: folder of the data sets, where the one that a result names is gone: runs get moved. None: no other.
    """

    def __init__(self, gathered: Gathered, world: Path | None = None):
        self._gathered = gathered
        self._world = world
        self._truths: dict[tuple[Path, IouType], GroundTruth | None] = {}
        self._boxes: dict[Path, Detections | None] = {}

    def annotations_file(self, measured: Measured) -> Path | None:
        """Of the data set that was tested on, in COCO's form; None where there is none.

        COCO's own lie in the folder of the data sets, VOC's in COCO's form beside the detections.
        """
        name = str(measured.result["dataset"].get("name"))
        if measured.result["metric_flavour"] != "COCO":
            file = measured.folder / "inference" / f"{name}_coco_form.json"
            return file if file.is_file() else None
        parts = re.fullmatch(r"coco_(\d{4})_(\w+)", name)
        roots = [root for root in (measured.result["dataset"].get("root"), self._world) if root]
        for root in roots if parts else ():
            file = Path(root) / "coco" / "annotations" / f"instances_{parts[2]}{parts[1]}.json"
            if file.is_file():
                return file
        return None

    def lack(self, measured: Measured) -> str:
        """Which file is not there, in words; empty where both are."""
        file = detections_file(measured)
        if not file.is_file():
            return f"no {file.relative_to(measured.folder)} lies beside the result"
        if self.annotations_file(measured) is None:
            return f"there are no annotations of {measured.result['dataset'].get('name')}"
        return ""

    def truth(self, measured: Measured, iou_type: IouType) -> GroundTruth | None:
        """The annotations for boxes or for masks; None where they are missing or not readable."""
        file = self.annotations_file(measured)
        if file is None:
            return None
        if (file, iou_type) not in self._truths:
            try:
                self._truths[file, iou_type] = read_annotations(file, iou_type)
            except InputError as error:
                self._gathered.leave_out(str(error))
                self._truths[file, iou_type] = None
        return self._truths[file, iou_type]

    def detections(self, measured: Measured, truth: GroundTruth) -> Detections | None:
        """Boxes or masks, whichever ``truth`` is of; None where they are missing or not readable.

        Boxes are kept for the next that asks. Masks take up much memory and are read anew.
        """
        file = detections_file(measured)
        if not file.is_file():
            return None
        if truth.iou_type == "segm":
            return self._read(file, truth)
        if file not in self._boxes:
            self._boxes[file] = self._read(file, truth)
        return self._boxes[file]

    def _read(self, file: Path, truth: GroundTruth) -> Detections | None:
        try:
            return read_results(file, truth, may_be_empty=True)  # barely trained, a detector finds nothing
        except InputError as error:
            self._gathered.leave_out(str(error))
            return None
