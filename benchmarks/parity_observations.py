"""What an engine makes of a config, weights, a seed and data, as arrays that can be laid beside the other engine's."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from parity_cases import model_inputs, tensor_value
from parity_engines import Engine, Observation

#: Two sizes that the mapper resizes an image to.
SHORT_SIDES = (40, 64)


def observe_model(engine: Engine, cfg: CfgNode, seed: int, dtype: torch.dtype = torch.float32) -> Observation:
    """Initial distributions, optimizer groups, schedule; detections; losses, gradients and statistics of one step."""
    torch.manual_seed(seed)
    model, our_names = engine.build(cfg)
    parameters = {our_names[name]: p for name, p in model.named_parameters()}
    observed = {f"initial/{name}": moments(p.detach().double().numpy()) for name, p in parameters.items()}

    shortened = cfg.clone()
    shortened.merge_from_list(["SOLVER.MAX_ITER", 40, "SOLVER.STEPS", (20, 30), "SOLVER.WARMUP_ITERS", 5])
    optimizer, rates = engine.solver(shortened, model)
    observed["schedule/lr"] = np.array(list(rates))
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, p in parameters.items():
        group = group_of.get(id(p), dict.fromkeys(("weight_decay", "momentum", "nesterov"), -1))  # frozen
        observed[f"optimizer/{name}"] = np.array([group["weight_decay"], group["momentum"], group["nesterov"]], float)

    if dtype == torch.float64:
        engine.in_float64(model)
    state = model.state_dict()
    with torch.no_grad():
        for theirs, ours in our_names.items():
            if state[theirs].is_floating_point():
                state[theirs].copy_(tensor_value(ours, state[theirs].shape, seed))
    inputs = model_inputs(cfg, seed)
    with torch.no_grad():
        detected = engine.detect(model.eval(), inputs)
    unused = {f"features/res{i}" for i in (2, 3, 4, 5)} - {f"features/{name}" for name in cfg.MODEL.RPN.IN_FEATURES}
    observed |= {name: x for name, x in detected.items() if name not in unused}  # of these C4 shows res4 alone

    torch.manual_seed(seed)
    losses = engine.losses(model.train(), inputs)
    sum(losses.values()).backward()
    observed |= {f"losses/{name}": np.array([loss.item()]) for name, loss in losses.items()}
    observed |= {f"gradients/{name}": p.grad.double().numpy() for name, p in parameters.items() if p.requires_grad}
    for theirs, tensor in model.state_dict().items():
        if theirs.endswith(("running_mean", "running_var")):
            observed[f"statistics/{our_names[theirs]}"] = tensor.double().numpy()
    return observed


def observe_data(engine: Engine, cfg: CfgNode, root: Path, seed: int) -> Observation:
    """Dataset dicts, mapped images and the order of images; ``root`` was written by ``parity_cases.write_data``."""
    observed = {}
    dicts = engine.dataset_dicts(root)
    for dataset, records in dicts.items():
        observed |= {f"dataset dicts/{dataset} {i}": text(record, root) for i, record in enumerate(records)}
    for i, record in enumerate(dicts["coco"]):
        for short_side in SHORT_SIDES:
            for mapped in engine.mapped(cfg, record, short_side):
                image = mapped["image"].numpy()
                # flipped or not: the two are told apart, and found equal, by the bytes
                where = f"mapper/{i} {'x'.join(map(str, image.shape))} {sum_of_bytes(image)}"
                observed[f"{where} image"] = image.astype(float)
                observed[f"{where} boxes"] = mapped["gt_boxes"].double().numpy()
                observed[f"{where} classes"] = mapped["gt_classes"].double().numpy()
                if cfg.MODEL.MASK_ON:
                    polygons = [np.asarray(p, float) for parts in mapped["gt_polygons"] for p in parts]
                    observed[f"{where} polygons"] = np.concatenate([np.array([len(p)]) for p in polygons] + polygons)
    is_landscape = (np.random.default_rng(seed).random(9) < 0.6).tolist()
    order = engine.image_order(is_landscape, 2, seed)
    observed["image order/batches"] = np.array([next(order) for _ in range(20)], float)
    return observed


def moments(values: np.ndarray) -> np.ndarray:
    """(4,) size, mean, standard deviation and kurtosis: of a normal distribution 3, a uniform one 1.8, a constant 0."""
    mean, std = values.mean(), values.std()
    kurtosis = ((values - mean) ** 4).mean() / std**4 if std > 0 else 0.0
    return np.array([values.size, mean, std, kurtosis])


def sum_of_bytes(image: np.ndarray) -> str:
    """Fingerprint of a uint8 image that depends on the place of every pixel."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:12]


def text(record: dict[str, Any], root: Path) -> np.ndarray:
    """A dictionary as the bytes of its JSON, with paths relative to ``root``."""
    written = json.dumps(record, sort_keys=True, default=lambda x: x.decode() if isinstance(x, bytes) else x.tolist())
    return np.frombuffer(written.replace(str(root), "").encode(), dtype=np.uint8).astype(float)
