"""``--flops``: what one image costs a detector, part by part, as fvcore counts it; and the parameters.

fvcore traces the model over one image and counts a multiplication with its addition as one. It knows convolutions,
matrix products and norms; what it does not know is listed with how often it occurs, not guessed. The weights are
random, so the region heads cost what the printed numbers of proposals and, for a mask head, of detections cost; two
models are compared at equal numbers.
"""

import argparse
import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from fvcore.nn import FlopCountAnalysis
from torch import nn

from clsa.configs.command import InputError
from clsa.configs.run_files import write_json

from .dataset_dicts import load_dataset_dicts
from .detection_result import evaluated_dataset
from .mapper import DetectionMapper
from .series_summary import text_table


def report_flops(args: argparse.Namespace, cfg: CfgNode, build: Callable[[CfgNode], nn.Module]) -> None:
    """Count, print the table, and write ``OUTPUT_DIR/flops.json``; on the CPU.

    Args:
        args: ``engine``; ``input_size``, ``"HxW"`` in pixels of the network's input, or None: the first test image,
            resized as in evaluation.
        cfg: frozen.
        build: the engine's model of a config.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    for node in (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD):
        if node.NORM == "SyncBN":
            node.NORM = "BN"  # the same arithmetic in evaluation, and it runs on the CPU
    cfg.freeze()
    torch.manual_seed(0)
    counted = count_flops(build(cfg), input_image(cfg, args.input_size))
    record = {"engine": args.engine, "config_file": args.config_file, **counted}
    path = Path(cfg.OUTPUT_DIR) / "flops.json"
    write_json(path, record)
    print(f"{flops_table(record)}\n{path}")


def input_image(cfg: CfgNode, size: str | None) -> torch.Tensor:
    """(3, H, W) uint8: noise of the given size, or the first test image as evaluation sees it."""
    if size is None:
        records = load_dataset_dicts(evaluated_dataset(cfg))
        return DetectionMapper(cfg, is_train=False)(records[0], np.random.default_rng(0))["image"]
    found = re.fullmatch(r"(\d+)x(\d+)", size)
    if not found or min(int(side) for side in found.groups()) < 32:
        raise InputError(f"--input-size is {size!r}: HEIGHTxWIDTH in pixels is needed, from 32x32, such as 800x1333.")
    height, width = (int(side) for side in found.groups())
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def count_flops(model: nn.Module, image: torch.Tensor) -> dict[str, Any]:
    """Trace ``model`` (of either engine) over one image.

    Returns:
        ``input`` [H, W]; ``proposals`` and ``detections``, counts; ``flops`` and ``parameters``, each
        ``{"total", part: ...}`` for the model's direct parts; ``by_operator``; ``not_counted``: operator -> how often;
        ``flops_of_modules`` of all modules.
    """
    model.eval()
    proposals = []
    parts = dict(model.named_children())
    proposer = parts.get("proposals", parts.get("proposal_generator"))
    hook = proposer.register_forward_hook(lambda module, given, found: proposals.append(len(found[0][0])))
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)  # what it would warn of is listed instead
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's: the count is of this one image, as is said
        traced = _OneImage(model)
        analysis = FlopCountAnalysis(traced, image)
        modules = analysis.by_module()
        operators, unknown = analysis.by_operator(), analysis.unsupported_ops()
    hook.remove()
    return {
        "input": list(image.shape[-2:]),
        "proposals": proposals[0],
        "detections": traced.detections,
        "flops": {"total": modules[""], **{name: modules[f"model.{name}"] for name in parts}},
        "parameters": {
            "total": sum(p.numel() for p in model.parameters()),
            **{name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        },
        "by_operator": dict(operators.most_common()),
        "not_counted": dict(unknown.most_common()),
        "flops_of_modules": {
            name.removeprefix("model."): flops for name, flops in modules.items() if flops and name not in ("", "model")
        },
    }


class _OneImage(nn.Module):
    """The model as the tracer wants it: a tensor in, tensors out."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.detections = 0

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model([{"image": image, "height": image.shape[-2], "width": image.shape[-1]}])[0]
        if "instances" not in found:
            self.detections = len(found["scores"])
            return tuple(found.values())
        instances = found["instances"]  # detectron2's
        self.detections = len(instances)
        return instances.pred_boxes.tensor, instances.scores, instances.pred_classes


def flops_table(record: dict[str, Any]) -> str:
    """The parts, then what was not counted."""
    rows = [
        [name, f"{flops / 1e9:.2f}", f"{record['parameters'][name] / 1e6:.2f}"]
        for name, flops in record["flops"].items()
    ]
    height, width = record["input"]
    unknown = ", ".join(f"{name} {count}x" for name, count in record["not_counted"].items())
    return (
        f"one image of {height} x {width}, {record['proposals']} proposals, {record['detections']} detections; "
        "a multiplication and its addition are one\n"
        f"{text_table(['part', 'GFLOPs', 'M parameters'], rows)}\nnot counted: {unknown or 'nothing'}"
    )
