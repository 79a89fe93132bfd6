"""PreciseBN of the torchvision engine against mean and variance of every norm's inputs, in two passes of float64."""

import itertools
import sys
from pathlib import Path

import torch
from fvcore.nn.precise_bn import get_bn_modules

from clsa.configs.processes import Process
from clsa.detection.dataset_dicts import load_dataset_dicts
from clsa.detection.loader import training_batches
from clsa.detection.rcnn import build_model
from clsa.detection.torchvision_training import estimate_bn_statistics, seed_iteration

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

from parity_cases import case_config

BATCHES = 3


def test_the_statistics_are_those_of_all_training_batches_together(mini_root, monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    cfg = case_config("C4 VOC")  # multi-scale batches, drawn regions, the norm after res5
    cfg.merge_from_list(["DATASETS.TRAIN", ("voc_2007_trainval",), "DATALOADER.NUM_WORKERS", 0])
    cfg.merge_from_list(["SOLVER.IMS_PER_BATCH", 2, "TEST.PRECISE_BN.NUM_ITER", BATCHES])
    records = load_dataset_dicts("voc_2007_trainval")
    torch.manual_seed(0)
    model = build_model(cfg).train()
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    norms = {name: module for name, module in model.named_modules() if module in get_bn_modules(model)}
    assert len(norms) == 54  # of 53 convolutions, and the extra one

    seen: dict[str, list[torch.Tensor]] = {name: [] for name in norms}
    hooks = [
        norm.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(by_channel(args[0])))
        for name, norm in norms.items()
    ]
    batches = training_batches(cfg, records, seed=5, start=0)
    seed_iteration(5, 0, rank=0)
    with torch.no_grad():
        for batch in itertools.islice(batches, BATCHES):
            model(batch)
    for hook in hooks:
        hook.remove()
    drifted = {name: norm.running_mean.clone() for name, norm in norms.items()}

    estimate_bn_statistics(Process(0, 1, torch.device("cpu")), cfg, model, records, seed=5)
    for name, norm in norms.items():
        inputs = torch.cat(seen[name], dim=1)  # (C, all positions of all images of all batches)
        mean = inputs.mean(dim=1)
        variance = (inputs - mean[:, None]).square().mean(dim=1)
        torch.testing.assert_close(
            norm.running_mean.double(), mean, rtol=1e-5, atol=1e-6 * float(variance.max().sqrt())
        )
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-7 * float(variance.max()))
        assert not torch.equal(norm.running_mean, drifted[name])
        assert norm.momentum == 0.1
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())
    assert len({inputs[0].shape[1] for inputs in seen.values()}) > 3  # batches of several sizes weigh as they should


def by_channel(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (C, N H W) float64"""
    return x.detach().double().transpose(0, 1).flatten(1)
