"""From the config to the list of stages, in the order in which one process would run them."""

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError

from .backbones import FILES, Backbone, backbones, row_names
from .data_stage import data_stage
from .expected import first_fit, seconds
from .probes import Probe, baseline_probes, probes
from .stage import Stage
from .stages import baseline_stage, convert_stage, detect_stage, pretrain_stage, probe_stage

#: What ``--only`` takes. Pretraining converts as its last act; ``convert`` is of the checkpoints that are given.
KINDS = ("data", "pretrain", "convert", "detect", "classify", "report")

ENGINES = ("torchvision", "detectron2")


def plan_stages(cfg: CfgNode, output: Path) -> list[Stage]:
    """Every stage but the report. ``output`` must be absolute.

    Raises:
        InputError: no backbone, a method without a pretraining config, a config that does not exist, no such engine or
            baseline.
    """
    if cfg.DETECT.CONFIG_FILES and cfg.DETECT.ENGINE not in ENGINES:
        raise InputError(f"DETECT.ENGINE is {cfg.DETECT.ENGINE!r}, give one of {', '.join(ENGINES)}")
    chosen, probing = backbones(cfg), probes(cfg)
    if not (chosen or cfg.CLASSIFY.BASELINES):
        raise InputError(
            "there is no backbone: METHODS and WEIGHTS are empty. Give a checkpoint, "
            "WEIGHTS \"[['mine', '/path/checkpoint.pth']]\", or a method to pretrain."
        )
    if cfg.BASELINE and cfg.BASELINE not in row_names(cfg):
        raise InputError(f"BASELINE is {cfg.BASELINE!r}, the rows are {', '.join(row_names(cfg))}")
    stages = [data_stage(cfg, output, chosen, probing)]
    for backbone in chosen:
        if backbone.checkpoint:
            stages += [convert_stage(cfg, output, backbone, target) for target in FILES]
        else:
            stages.append(pretrain_stage(cfg, output, backbone))
    for backbone in chosen:
        stages += _measured(cfg, output, backbone, probing)
    for features in cfg.CLASSIFY.BASELINES:
        stages += [baseline_stage(cfg, output, features, probe) for probe in baseline_probes(probing)]
    return [_with_time(stage, cfg) for stage in stages]


def select(stages: Sequence[Stage], only: Sequence[str] | None) -> list[Stage]:
    """The stages of the kinds ``only`` (all of them for None), with an error for an unknown kind."""
    if only is None:
        return list(stages)
    for kind in only:
        if kind not in KINDS:
            raise InputError(f"--only got {kind!r}, the stages are {', '.join(KINDS)}")
    return [stage for stage in stages if stage.kind in only]


def find_stage(stages: Sequence[Stage], name: str) -> Stage:
    """The stage of that name, with an error for an unknown one."""
    by_name = {stage.name: stage for stage in stages}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"--stage got {name!r}, which is none of the stages of --plan.{hint}")
    return by_name[name]


def require_engine(cfg: CfgNode, stages: Sequence[Stage]) -> None:
    """Refuse, before hours of pretraining, an engine that the detectors among ``stages`` could not use."""
    engine = cfg.DETECT.ENGINE
    if any(stage.kind == "detect" for stage in stages) and importlib.util.find_spec(engine) is None:
        raise InputError(
            f"DETECT.ENGINE is {engine}, which is not installed here. Install it by its own guide, or run with "
            "DETECT.ENGINE torchvision."
        )


def _measured(cfg: CfgNode, output: Path, backbone: Backbone, probing: Sequence[Probe]) -> list[Stage]:
    """The detectors and probes of one backbone."""
    stages = [detect_stage(cfg, output, backbone, name) for name in cfg.DETECT.CONFIG_FILES]
    for probe in probing:
        stages.append(probe_stage(cfg, output, backbone, probe))
        if backbone.untrained and probe.reads_frozen_statistics and cfg.CLASSIFY.RANDOM_INIT_REESTIMATE_BN:
            stages.append(probe_stage(cfg, output, backbone, probe, reestimate=True))
    return stages


def _with_time(stage: Stage, cfg: CfgNode) -> Stage:
    once = seconds(first_fit(cfg.EXPECTED, stage.name, "EXPECTED"))
    return replace(stage, expected_seconds=once * stage.repeats)
