"""The two engines behind one set of verbs, so that ``parity_observations.py`` can ask both the same.

An observation is a flat dict "kind/name" -> array. The names of tensors are those of our model, in both engines.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode

from clsa.configs.loading import flat_keys
from clsa.datasets.categories import VOC_CLASSES
from clsa.detection.config import value_of
from clsa.detection.dataset_dicts import load_dataset_dicts
from clsa.detection.loader import plan_batches
from clsa.detection.mapper import DetectionMapper
from clsa.detection.rcnn import build_model
from clsa.detection.roi_pooling import RoIPooling
from clsa.detection.solver import build_optimizer, build_schedule, set_learning_rate

Observation = dict[str, np.ndarray]

TENSOR_NAMES = (  # ours -> detectron2's
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", r".shortcut."),
    (r"\.downsample\.1\.", r".shortcut.norm."),
    (r"pyramid\.inner_blocks\.(\d)", lambda m: f"fpn_lateral{int(m[1]) + 2}"),
    (r"pyramid\.layer_blocks\.(\d)", lambda m: f"fpn_output{int(m[1]) + 2}"),
    (r"(fpn_\w+\d)\.0\.", r"\1."),
    (r"(fpn_\w+\d)\.1\.", r"\1.norm."),
    (r"^proposals\.head\.conv\.0\.0\.", r"proposal_generator.rpn_head.conv."),
    (r"^proposals\.head\.cls_logits\.", r"proposal_generator.rpn_head.objectness_logits."),
    (r"^proposals\.head\.bbox_pred\.", r"proposal_generator.rpn_head.anchor_deltas."),
    (r"_head\.(\w+)\.conv\.", r"_head.\1."),
)


def detectron2_tensor_name(name: str) -> str:
    for pattern, replacement in TENSOR_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def in_float32(_: torch.nn.Module, __: Any, predictions: Any) -> Any:
    """Forward hook: the predictions, tensors or lists of them, in float32."""
    if isinstance(predictions, torch.Tensor):
        return predictions.float()
    return type(predictions)(in_float32(_, __, x) for x in predictions)


class TorchvisionEngine:
    """``clsa.detection``'s own modules."""

    def build(self, cfg: CfgNode) -> tuple[torch.nn.Module, dict[str, str]]:
        """A freshly initialised model, and our name of each of its tensors."""
        model = build_model(cfg)
        return model, {name: name for name in model.state_dict()}

    def in_float64(self, model: torch.nn.Module) -> None:
        """The network in float64; its predictions, anchors and boxes in float32, as ever."""
        model.double()
        model.proposals.anchors.float()
        for module in (model.proposals.head, model.roi_heads.box_predictor):
            module.register_forward_hook(in_float32)
        for module in model.modules():
            if isinstance(module, RoIPooling):  # torchvision's kernel wants one type for features and boxes
                module.register_forward_pre_hook(lambda _, args: (args[0], [boxes.double() for boxes in args[1]]))

    def detect(self, model: torch.nn.Module, inputs: list[dict[str, Any]]) -> Observation:
        seen = {}
        hooks = [
            model.backbone.register_forward_hook(lambda _, args, out: seen.update(images=args[0], features=out)),
            model.proposals.register_forward_hook(lambda _, __, out: seen.update(proposals=out[0])),
        ]
        found = model(inputs)
        for hook in hooks:
            hook.remove()
        return self.detections(seen["images"], seen["features"], seen["proposals"], found)

    @staticmethod
    def detections(images: torch.Tensor, features: dict, proposals: list, found: list[dict]) -> Observation:
        """``found``: for each image boxes, scores, classes and perhaps masks."""
        observed = {"images/batch": images}
        observed |= {f"features/{name}": x for name, x in features.items()}
        for i, (boxes, detections) in enumerate(zip(proposals, found, strict=True)):
            observed[f"proposals/{i}"] = boxes
            observed |= {f"{kind}/{i}": x for kind, x in detections.items()}
        return {name: x.double().numpy() for name, x in observed.items()}

    def losses(self, model: torch.nn.Module, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return model(inputs)

    def solver(self, cfg: CfgNode, model: torch.nn.Module) -> tuple[torch.optim.Optimizer, Iterator[float]]:
        """The optimizer, and the learning rate of one iteration after the other."""
        optimizer, schedule = build_optimizer(cfg, model), build_schedule(cfg)
        rates = (set_learning_rate(optimizer, schedule(i / cfg.SOLVER.MAX_ITER)) for i in range(cfg.SOLVER.MAX_ITER))
        return optimizer, rates

    def dataset_dicts(self, root: Path) -> dict[str, list[dict[str, Any]]]:
        before = os.environ.get("DETECTRON2_DATASETS")
        os.environ["DETECTRON2_DATASETS"] = str(root)
        try:
            return {"voc": load_dataset_dicts("voc_2007_trainval"), "coco": load_dataset_dicts("coco_2017_val")}
        finally:
            os.environ.pop("DETECTRON2_DATASETS")
            if before is not None:
                os.environ["DETECTRON2_DATASETS"] = before

    def mapped(self, cfg: CfgNode, record: dict[str, Any], short_side: int) -> Iterator[dict[str, Any]]:
        """The record as training sees it with this shorter side, flipped and not flipped, in any order."""
        changed = cfg.clone()
        changed.INPUT.MIN_SIZE_TRAIN = (short_side,)
        mapper = DetectionMapper(changed, is_train=True)
        for place in range(12):  # each flips by its own chance
            yield mapper(record, np.random.default_rng(place))

    def image_order(self, is_landscape: list[bool], batch_size: int, seed: int) -> Iterator[list[int]]:
        for batch in plan_batches(is_landscape, batch_size, seed, rank=0, world_size=1, group=True):
            yield [image for _, image in batch]


class Detectron2Engine:
    """detectron2's. Imports it when it is made."""

    def __init__(self) -> None:
        import detectron2.data
        import detectron2.engine
        import detectron2.modeling
        import detectron2.solver

        import clsa.detection.extra_norm_head  # noqa: F401  registers the head

        self.detectron2 = detectron2

    def config(self, cfg: CfgNode) -> CfgNode:
        """The same values; what detectron2 has no key for concerns data that neither engine is given here."""
        theirs = self.detectron2.config.get_cfg()
        known = set(flat_keys(theirs))
        theirs.merge_from_list([word for key in flat_keys(cfg) if key in known for word in (key, value_of(cfg, key))])
        return theirs

    def build(self, cfg: CfgNode) -> tuple[torch.nn.Module, dict[str, str]]:
        model = self.detectron2.modeling.build_model(self.config(cfg))
        with torch.random.fork_rng():
            ours = build_model(cfg).state_dict()
        return model, {detectron2_tensor_name(name): name for name in ours}

    def in_float64(self, model: torch.nn.Module) -> None:
        model.double()
        model.proposal_generator.anchor_generator.float()
        for module in (model.proposal_generator.rpn_head, model.roi_heads.box_predictor):
            module.register_forward_hook(in_float32)

    @staticmethod
    def inputs(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        from detectron2.structures import Boxes, Instances, PolygonMasks

        converted = []
        for x in inputs:
            instances = Instances(tuple(x["image"].shape[-2:]))
            instances.gt_boxes = Boxes(x["gt_boxes"])
            instances.gt_classes = x["gt_classes"]
            if "gt_polygons" in x:
                instances.gt_masks = PolygonMasks(x["gt_polygons"])
            converted.append({**{k: x[k] for k in ("image", "height", "width")}, "instances": instances})
        return converted

    def detect(self, model: torch.nn.Module, inputs: list[dict[str, Any]]) -> Observation:
        seen = {}
        hooks = [
            model.backbone.register_forward_hook(lambda _, args, out: seen.update(images=args[0], features=out)),
            model.proposal_generator.register_forward_hook(lambda _, __, out: seen.update(proposals=out[0])),
        ]
        found = [x["instances"] for x in model(self.inputs(inputs))]
        for hook in hooks:
            hook.remove()
        detections = []
        for x in found:
            detections.append({"boxes": x.pred_boxes.tensor, "scores": x.scores, "classes": x.pred_classes})
            if x.has("pred_masks"):
                detections[-1]["masks"] = x.pred_masks
        proposals = [x.proposal_boxes.tensor for x in seen["proposals"]]
        return TorchvisionEngine.detections(seen["images"], seen["features"], proposals, detections)

    def losses(self, model: torch.nn.Module, inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        from detectron2.utils.events import EventStorage

        with EventStorage():
            return model(self.inputs(inputs))

    def solver(self, cfg: CfgNode, model: torch.nn.Module) -> tuple[torch.optim.Optimizer, Iterator[float]]:
        theirs = self.config(cfg)
        optimizer = self.detectron2.solver.build_optimizer(theirs, model)

        def rates() -> Iterator[float]:
            scheduler = self.detectron2.solver.build_lr_scheduler(theirs, optimizer)
            for _ in range(cfg.SOLVER.MAX_ITER):
                yield optimizer.param_groups[0]["lr"]
                optimizer.step()
                scheduler.step()

        return optimizer, rates()

    def dataset_dicts(self, root: Path) -> dict[str, list[dict[str, Any]]]:
        from detectron2.data import MetadataCatalog
        from detectron2.data.datasets import load_coco_json, load_voc_instances

        name = f"parity of {root}"  # not one of detectron2's own, whose place was fixed when it was imported
        coco = load_coco_json(str(root / "coco/annotations/instances_val2017.json"), str(root / "coco/val2017"), name)
        MetadataCatalog.pop(name)
        return {"voc": load_voc_instances(str(root / "VOC2007"), "trainval", VOC_CLASSES), "coco": coco}

    def mapped(self, cfg: CfgNode, record: dict[str, Any], short_side: int) -> Iterator[dict[str, Any]]:
        from detectron2.data import DatasetMapper
        from detectron2.data import transforms as T

        for probability in (0.0, 1.0):
            mapper = DatasetMapper(
                is_train=True,
                augmentations=[
                    T.ResizeShortestEdge(short_side, cfg.INPUT.MAX_SIZE_TRAIN, "choice"),
                    T.RandomFlip(probability),
                ],
                image_format=cfg.INPUT.FORMAT,
                use_instance_mask=cfg.MODEL.MASK_ON,
            )
            mapped = mapper(record)
            instances = mapped.pop("instances")
            mapped["gt_boxes"], mapped["gt_classes"] = instances.gt_boxes.tensor, instances.gt_classes
            if cfg.MODEL.MASK_ON:
                mapped["gt_polygons"] = instances.gt_masks.polygons
            yield mapped

    def image_order(self, is_landscape: list[bool], batch_size: int, seed: int) -> Iterator[list[int]]:
        from detectron2.data.common import AspectRatioGroupedDataset
        from detectron2.data.samplers import TrainingSampler

        stream = (
            {"image": i, "width": 2 if is_landscape[i] else 1, "height": 1}
            for i in TrainingSampler(len(is_landscape), seed=seed)
        )
        for batch in AspectRatioGroupedDataset(stream, batch_size):
            yield [x["image"] for x in batch]


Engine = TorchvisionEngine | Detectron2Engine
