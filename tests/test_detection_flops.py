"""Operations and parameters: one value by hand, the parts, the input's size."""

import json

import pytest
import torch

from clsa.configs.command import InputError
from clsa.configs.loading import load_config
from clsa.detection.config import get_cfg
from clsa.detection.flops import input_image
from clsa.detection.train_net import main

CONFIG = ["--config-file", "configs/detection/mini_coco_fpn_r18.yaml"]


def test_a_pyramid_without_any_data(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    command = ["--engine", "torchvision", "--flops", "--input-size", "64x96", *CONFIG, "OUTPUT_DIR", str(tmp_path)]
    assert main([*command, "MODEL.RPN.POST_NMS_TOPK_TEST", "5"]) == 0
    counted = json.loads((tmp_path / "flops.json").read_text())
    modules, parameters = counted["flops_of_modules"], counted["parameters"]
    conv1 = next(flops for name, flops in modules.items() if name.endswith("stem.conv1"))
    assert conv1 == (64 // 2) * (96 // 2) * 64 * 3 * 7 * 7  # places x channels x weights of one output
    assert (counted["proposals"], counted["detections"]) == (5, 0)
    fc1 = next(flops for name, flops in modules.items() if name.startswith("roi_heads") and name.endswith("fc1"))
    assert fc1 == 5 * (64 * 7 * 7) * 256  # proposals x pooled values x width
    parts = [flops for name, flops in counted["flops"].items() if name != "total"]
    assert len(parts) == 3
    assert sum(parts) == counted["flops"]["total"]
    assert sum(parameters[name] for name in counted["flops"] if name != "total") == parameters["total"]
    assert counted["not_counted"]["torchvision::roi_align"] > 0
    printed = capsys.readouterr().out
    assert "one image of 64 x 96, 5 proposals" in printed
    assert "torchvision::roi_align" in printed


def test_without_a_size_it_is_that_of_the_first_test_image(mini_root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini_root))
    cfg = load_config(get_cfg(), CONFIG[1], ["INPUT.MIN_SIZE_TEST", "64"])
    image = input_image(cfg, None)
    assert image.dtype == torch.uint8
    assert min(image.shape[-2:]) == 64
    assert input_image(cfg, "40x50").shape == (3, 40, 50)
    with pytest.raises(InputError, match="--input-size is '40': HEIGHTxWIDTH in pixels is needed"):
        input_image(cfg, "40")
