"""From the config to the list of stages, in the order in which one process would run them."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

from .stage import Stage

#: What ``--only`` takes. Pretraining converts as its last act, so there is no stage of that name.
KINDS = ("data", "pretrain", "detect", "classify", "report")

ENGINES = ("torchvision", "detectron2")

#: Folder of a probe whose BatchNorm statistics were re-estimated: the probe's name and this.
REESTIMATED = "_bn_reestimated"


def plan_stages(cfg: CfgNode, output: Path) -> list[Stage]:
    """Every stage but the report. ``output`` must be absolute.

    Raises:
        InputError: a method without a pretraining config, an engine that is not there, a config that does not exist.
    """
    check_engine(cfg)
    stages = [_data_stage(cfg, output)]
    world = world_root(cfg, output)
    stages += [_pretrain_stage(cfg, output, world, method) for method in cfg.METHODS]
    for method in cfg.METHODS:
        stages += [_detect_stage(cfg, output, world, method, name) for name in cfg.DETECT.CONFIG_FILES]
        for probe, config in probes(cfg):
            stages.append(_probe_stage(cfg, output, world, method, probe, config))
            if method == "random_init" and cfg.CLASSIFY.RANDOM_INIT_REESTIMATE_BN:
                stages.append(_probe_stage(cfg, output, world, method, probe, config, reestimate=True))
    if cfg.CLASSIFY.SVM_CONFIG:
        stages += [_baseline_stage(cfg, output, world, features) for features in cfg.CLASSIFY.BASELINES]
    return stages


def select(stages: Sequence[Stage], only: Sequence[str] | None) -> list[Stage]:
    """The stages of the kinds ``only`` (all of them for None), with an error for an unknown kind."""
    if only is None:
        return list(stages)
    for kind in only:
        if kind not in KINDS:
            hint = " Pretraining converts as its last act: give pretrain." if kind == "convert" else ""
            raise InputError(f"--only got {kind!r}, the stages are {', '.join(KINDS)}.{hint}")
    return [stage for stage in stages if stage.kind in only]


def probes(cfg: CfgNode) -> list[tuple[str, str]]:
    """(``"svm"`` or ``"linear"``, its config) for the probes that the config asks for."""
    named = (("svm", cfg.CLASSIFY.SVM_CONFIG), ("linear", cfg.CLASSIFY.LINEAR_CONFIG))
    return [(probe, config) for probe, config in named if config]


def world_root(cfg: CfgNode, output: Path) -> Path:
    """Where the miniature world is, or will be."""
    return Path(cfg.DATA.ROOT).absolute() if cfg.DATA.ROOT else output / "data" / "world"


def check_engine(cfg: CfgNode) -> None:
    """Refuse, before hours of pretraining, an engine that the detection stage could not use."""
    engine = cfg.DETECT.ENGINE
    if not cfg.DETECT.CONFIG_FILES:
        return
    if engine not in ENGINES:
        raise InputError(f"DETECT.ENGINE is {engine!r}, give one of {', '.join(ENGINES)}")
    if importlib.util.find_spec(engine) is None:
        raise InputError(
            f"DETECT.ENGINE is {engine}, which is not installed here. Install it by its own guide, or run with "
            "DETECT.ENGINE torchvision."
        )


def _data_stage(cfg: CfgNode, output: Path) -> Stage:
    root = world_root(cfg, output)
    return Stage(
        kind="data",
        method="",
        name="data",
        folder=output / "data",
        script="clsa-data",
        arguments=("mini", "--root", str(root), "--size", cfg.DATA.SIZE, "--seed", str(cfg.DATA.SEED)),
        inputs=(),
        outputs=(root,),
        needs=(),
        expected_seconds=cfg.DATA.EXPECTED_SECONDS,
    )


def _pretrain_stage(cfg: CfgNode, output: Path, world: Path, method: str) -> Stage:
    folder = output / method / "pretrain"
    config = _method_config(cfg, method)
    arguments = ["--config-file", str(config), "--num-gpus", str(cfg.NUM_GPUS)]
    arguments += ["--convert", "detectron2", "--convert", "torchvision"]
    arguments += ["DATA.TRAIN", str(world / "imagenet" / "train"), "OUTPUT_DIR", str(folder), "SEED", str(cfg.SEED)]
    return Stage(
        kind="pretrain",
        method=method,
        name=f"{method}/pretrain",
        folder=folder,
        script="clsa-pretrain",
        arguments=(*arguments, *map(str, cfg.PRETRAIN.OVERRIDES)),
        inputs=(world,),
        outputs=(folder / "backbone_detectron2.pkl", folder / "backbone_torchvision.pth"),
        needs=("data",),
        config_files=(config,),
        resumable=True,
        expected_seconds=cfg.PRETRAIN.EXPECTED_SECONDS,
    )


def _method_config(cfg: CfgNode, method: str) -> Path:
    template = cfg.PRETRAIN.CONFIG_FILE
    if "{method}" not in template:
        raise InputError(f"PRETRAIN.CONFIG_FILE is {template!r}: it needs {{method}} where the method's name goes")
    try:
        return find_config(template.replace("{method}", method)).absolute()
    except InputError:
        raise InputError(
            f"unknown method {method!r} in METHODS: there is no {template.replace('{method}', method)}. "
            "Give a method that has a pretraining config, or write one under that name."
        ) from None


def _detect_stage(cfg: CfgNode, output: Path, world: Path, method: str, config_name: str) -> Stage:
    config = find_config(config_name).absolute()
    folder = output / method / "detect" / config.stem
    weights = output / method / "pretrain" / "backbone_detectron2.pkl"
    arguments = ["--engine", cfg.DETECT.ENGINE, "--config-file", str(config), "--num-gpus", str(cfg.NUM_GPUS)]
    arguments += ["MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(folder), "SEED", str(cfg.SEED)]
    return Stage(
        kind="detect",
        method=method,
        name=f"{method}/detect/{config.stem}",
        folder=folder,
        script="clsa-detect",
        arguments=(*arguments, *map(str, cfg.DETECT.OVERRIDES)),
        environment={"DETECTRON2_DATASETS": str(world)},
        inputs=(world, weights),
        outputs=(folder / "result.json",),
        needs=("data", f"{method}/pretrain"),
        config_files=(config,),
        resumable=True,
        expected_seconds=cfg.DETECT.EXPECTED_SECONDS,
    )


def _probe_stage(
    cfg: CfgNode, output: Path, world: Path, method: str, probe: str, config_name: str, reestimate: bool = False
) -> Stage:
    config = find_config(config_name).absolute()
    variant = probe + (REESTIMATED if reestimate else "")
    folder = output / method / "classify" / variant
    weights = output / method / "pretrain" / "backbone_torchvision.pth"
    arguments = [probe, "--weights", str(weights), *_probe_arguments(cfg, world, folder, config)]
    if reestimate:
        arguments += ["FEATURES.REESTIMATE_BN", "True"]
    return Stage(
        kind="classify",
        method=method,
        name=f"{method}/classify/{variant}",
        folder=folder,
        script="clsa-classify",
        arguments=tuple(arguments),
        inputs=(world, weights),
        outputs=(folder / "result.json",),
        needs=("data", f"{method}/pretrain"),
        config_files=(config,),
        expected_seconds=cfg.CLASSIFY.EXPECTED_SECONDS,
    )


def _baseline_stage(cfg: CfgNode, output: Path, world: Path, features: str) -> Stage:
    config = find_config(cfg.CLASSIFY.SVM_CONFIG).absolute()
    folder = output / features / "classify" / "svm"
    return Stage(
        kind="classify",
        method=features,
        name=f"{features}/classify/svm",
        folder=folder,
        script="clsa-classify",
        arguments=("svm", "--features", features, *_probe_arguments(cfg, world, folder, config)),
        inputs=(world,),
        outputs=(folder / "result.json",),
        needs=("data",),
        config_files=(config,),
        expected_seconds=cfg.CLASSIFY.EXPECTED_SECONDS,
    )


def _probe_arguments(cfg: CfgNode, world: Path, folder: Path, config: Path) -> list[str]:
    arguments = ["--data", str(world / "VOC2007"), "--output", str(folder), "--config-file", str(config)]
    return arguments + ["SEED", str(cfg.SEED), *map(str, cfg.CLASSIFY.OVERRIDES)]
