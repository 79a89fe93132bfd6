"""The stages that work on one backbone: how it comes to be, the detectors and the probes. One function a kind."""

from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

from .backbones import FILES, Backbone, Target
from .data_stage import data_root
from .expected import first_fit
from .probes import Probe
from .stage import Stage

#: Folder of a probe whose BatchNorm statistics were re-estimated: the probe's name and this.
REESTIMATED = "_bn_reestimated"


def pretrain_stage(cfg: CfgNode, output: Path, backbone: Backbone) -> Stage:
    """``clsa-pretrain``, converted for both targets as it ends. An untrained network needs neither GPU nor data."""
    folder = output / backbone.name / "pretrain"
    gpus = 0 if backbone.untrained else cfg.NUM_GPUS
    arguments = ["--config-file", str(backbone.config), "--num-gpus", str(gpus)]
    arguments += ["--convert", "detectron2", "--convert", "torchvision"]
    if not backbone.untrained:
        arguments += ["DATA.TRAIN", str(data_root(cfg, output) / "imagenet" / "train")]
    arguments += ["OUTPUT_DIR", str(folder), "SEED", str(cfg.SEED)]
    return Stage(
        kind="pretrain",
        method=backbone.name,
        name=f"{backbone.name}/pretrain",
        folder=folder,
        script="clsa-pretrain",
        arguments=(*arguments, *map(str, cfg.PRETRAIN.OVERRIDES)),
        inputs=() if backbone.untrained else _world(cfg, output),
        outputs=tuple(folder / name for name in FILES.values()),
        outside={"DATA": data_root(cfg, output)},
        needs=() if backbone.untrained else ("data",),
        config_files=(backbone.config,),
        checkpoints="last_checkpoint",
        gpus=gpus,
    )


def convert_stage(cfg: CfgNode, output: Path, backbone: Backbone, target: Target) -> Stage:
    """``clsa-convert`` of a given checkpoint: verified, or it fails."""
    weights = backbone.weights(output, target)
    return Stage(
        kind="convert",
        method=backbone.name,
        name=backbone.stage_name(target),
        folder=weights.parent,
        script="clsa-convert",
        arguments=(str(backbone.checkpoint), str(weights), "--to", target, "--overwrite"),
        inputs=(backbone.checkpoint,),
        outputs=(weights,),
        outside={"CHECKPOINT": backbone.checkpoint},
        needs=(),
    )


def detect_stage(cfg: CfgNode, output: Path, backbone: Backbone, config_name: str) -> Stage:
    """``clsa-detect``: fine-tuned and evaluated once, or so often as DETECT.TRIALS says."""
    config = find_config(config_name).absolute()
    folder = output / backbone.name / "detect" / config.stem
    weights = backbone.weights(output, "detectron2")
    trials = _trials(cfg, config.stem)
    arguments = ["--engine", cfg.DETECT.ENGINE, "--config-file", str(config), "--num-gpus", str(cfg.NUM_GPUS)]
    arguments += ["--trials", str(trials)] if trials else []
    arguments += ["MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(folder)]
    arguments += [] if trials else ["SEED", str(cfg.SEED)]
    results = [folder / f"trial_{k}" / "result.json" for k in range(trials)] or [folder / "result.json"]
    return Stage(
        kind="detect",
        method=backbone.name,
        name=f"{backbone.name}/detect/{config.stem}",
        folder=folder,
        script="clsa-detect",
        arguments=(*arguments, *map(str, cfg.DETECT.OVERRIDES)),
        environment={"DETECTRON2_DATASETS": str(data_root(cfg, output))},
        inputs=(*_world(cfg, output), weights),
        outputs=(*results, folder / "trials.json") if trials else tuple(results),
        outside={"DATA": data_root(cfg, output)},
        needs=("data", backbone.stage_name("detectron2")),
        config_files=(config,),
        checkpoints="trial_*/last_checkpoint" if trials else "last_checkpoint",
        gpus=cfg.NUM_GPUS,
        repeats=max(1, trials),
    )


def _trials(cfg: CfgNode, detector: str) -> int:
    """0: one run, with SEED."""
    trials = first_fit(cfg.DETECT.TRIALS, detector, "DETECT.TRIALS")
    if trials is not None and (not isinstance(trials, int) or trials < 1):
        raise InputError(f"DETECT.TRIALS has {trials!r} for {detector}, it must be a whole number, at least 1")
    return trials or 0


def probe_stage(cfg: CfgNode, output: Path, backbone: Backbone, probe: Probe, reestimate: bool = False) -> Stage:
    """``clsa-classify`` on a frozen backbone."""
    weights = backbone.weights(output, "torchvision")
    overrides = ("FEATURES.REESTIMATE_BN", "True") if reestimate else ()
    return _classify_stage(
        cfg,
        output,
        probe,
        method=backbone.name,
        variant=probe.name + (REESTIMATED if reestimate else ""),
        source=("--weights", str(weights)),
        inputs=(weights,),
        needs=(backbone.stage_name("torchvision"),),
        overrides=overrides,
    )


def baseline_stage(cfg: CfgNode, output: Path, features: str, probe: Probe) -> Stage:
    """``clsa-classify`` on features without weights."""
    return _classify_stage(
        cfg, output, probe, method=features, variant=probe.name, source=("--features", features), inputs=(), needs=()
    )


def _classify_stage(
    cfg: CfgNode,
    output: Path,
    probe: Probe,
    method: str,
    variant: str,
    source: tuple[str, ...],
    inputs: tuple[Path, ...],
    needs: tuple[str, ...],
    overrides: tuple[str, ...] = (),
) -> Stage:
    folder, root = output / method / "classify" / variant, data_root(cfg, output)
    gpus = cfg.NUM_GPUS if probe.on_all_gpus else min(1, cfg.NUM_GPUS)
    arguments = [probe.command, *probe.options, *source, "--data", str(root / probe.data), "--output", str(folder)]
    arguments += ["--config-file", str(probe.config)]
    arguments += ["--num-gpus", str(gpus)] if probe.resumable else []
    arguments += ["SEED", str(cfg.SEED), *map(str, cfg.CLASSIFY.OVERRIDES), *overrides]
    return Stage(
        kind="classify",
        method=method,
        name=f"{method}/classify/{variant}",
        folder=folder,
        script="clsa-classify",
        arguments=tuple(arguments),
        inputs=(*_world(cfg, output), *inputs),
        outputs=(folder / "result.json",),
        outside={"DATA": root},
        needs=("data", *needs),
        config_files=(probe.config,),
        checkpoints="checkpoint.pth" if probe.resumable else "",
        gpus=gpus,
    )


def _world(cfg: CfgNode, output: Path) -> tuple[Path, ...]:
    """What the stamps hold of the data: see :mod:`.data_stage`."""
    return (data_root(cfg, output),) if cfg.DATA.KIND == "mini" else ()
