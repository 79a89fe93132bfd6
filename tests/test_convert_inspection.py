"""``clsa-convert --inspect``: what a file is, said in text and as JSON, and nothing written."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from clsa.convert.architecture import build_trunk
from clsa.convert.backbone_file import backbone_hash, read_backbone
from clsa.convert.cli import main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """DINO's, of a narrow ResNet-50 that has never been trained; student and teacher differ in one number."""
    torch.manual_seed(0)
    teacher = build_trunk(50, 8).state_dict()
    student = {name: tensor.clone() for name, tensor in teacher.items()}
    student["conv1.weight"][0, 0, 0, 0] += 1
    head = nn.Linear(8, 4).state_dict()
    content = {
        network: {f"module.backbone.{n}": t for n, t in state.items()}
        | {f"module.head.mlp.{n}": t for n, t in head.items()}
        for network, state in (("student", student), ("teacher", teacher))
    }
    options = argparse.Namespace(arch="resnet50", lr=0.3, use_fp16=False, data_path="/data", betas=[0.9, 0.999])
    torch.save({**content, "epoch": 800, "args": options}, tmp_path / "dino.pth")
    return tmp_path / "dino.pth"


def test_as_text(checkpoint: Path, capsys) -> None:
    assert main(["--inspect", str(checkpoint)]) == 0
    shown = capsys.readouterr()
    numbers = sum(
        tensor.numel() for name, tensor in build_trunk(50, 8).state_dict().items() if "num_batches" not in name
    )
    for line in (
        rf"file      {checkpoint}: {checkpoint.stat().st_size:,} bytes, torch",
        "format    dino (facebookresearch/dino main_dino.py and utils.py (MultiCropWrapper))",
        "network   ResNet-50 of width_per_group 8 (teacher network)",
        "training  epoch 800",
        "options   arch resnet50, lr 0.3, use_fp16 False, data_path /data, betas [0.9, 0.999]",
        f"taken     trunk: 265 keys, {numbers:,} numbers in 265 tensors",
        f"dropped   student network: 320 keys, {numbers + 53 + 36:,} numbers in 320 tensors",
        "dropped   head: 2 keys, 36 numbers in 2 tensors",
        "dropped   batch counters: 53 keys, 53 numbers in 53 tensors",
        "can be converted: yes",
    ):
        assert line in shown.out.splitlines()
    assert "warning: the weights look untrained: 53 of 53 batch norms" in shown.err
    assert "weights differ: took the teacher network, dropped the student network" in shown.err
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_as_json_and_what_is_converted_afterwards(checkpoint: Path, capsys) -> None:
    assert main(["--inspect", str(checkpoint), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["format"], record["epoch"], record["trouble"]) == ("dino", 800, None)
    assert record["options"] == {
        "arch": "resnet50", "lr": 0.3, "use_fp16": False, "data_path": "/data", "betas": [0.9, 0.999]
    }  # fmt: skip
    assert record["dropped"]["head"] == ["teacher/module.head.mlp.weight", "teacher/module.head.mlp.bias"]
    destination = checkpoint.with_name("out.pkl")
    assert main([str(checkpoint), str(destination), "--to", "detectron2"]) == 0
    backbone = read_backbone(destination)
    assert backbone.manifest["source"]["sha256"] == record["sha256"]
    assert backbone.manifest["backbone_sha256"] == record["backbone_sha256"] == backbone_hash(backbone.state)
    assert {rule["rule"]: rule["keys"] for rule in backbone.manifest["dropped"]} == record["dropped"]


def test_of_a_file_that_cannot_be_converted(tmp_path: Path, capsys) -> None:
    """What is known is said all the same; the exit code is 1."""
    lacking = {n: t for n, t in build_trunk(50, 8).state_dict().items() if not n.startswith("layer4")}
    torch.save({"state_dict": {f"module.encoder_q.{n}": t for n, t in lacking.items()}, "epoch": 7}, tmp_path / "a.pth")
    assert main(["--inspect", str(tmp_path / "a.pth")]) == 1
    shown = capsys.readouterr()
    assert "format    moco" in shown.out
    assert "taken     trunk: 215 keys" in shown.out
    assert "can be converted: no" in shown.out
    assert "error:" in shown.err
    assert "50 of its 265 trunk tensors are missing" in shown.err

    torch.save(
        {"blocks.0.attn.weight": torch.zeros(4, 2), "blocks.1.attn.weight": torch.zeros(4, 2)}, tmp_path / "b.pth"
    )
    assert main(["--inspect", str(tmp_path / "b.pth"), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["format"] is record["architecture"] is record["backbone_sha256"] is None
    assert record["parts"]["blocks.0"] == {"keys": 1, "tensors": 1, "parameters": 8}
    assert "of no layout that is known here" in record["trouble"]


def test_the_flags(checkpoint: Path, capsys) -> None:
    for words in (["--inspect", str(checkpoint), "out.pkl"], ["--inspect", str(checkpoint), "--to", "detectron2"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert "--inspect writes nothing: give SRC alone" in capsys.readouterr().err
    assert main(["--inspect", str(checkpoint), "--from", "swav"]) == 1
    assert "no ResNet of torchvision's kind" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["--inspect", str(checkpoint), "--from", "caffe"])
    assert "invalid choice: 'caffe'" in capsys.readouterr().err
    assert main(["--inspect", str(checkpoint.with_name("none.pth"))]) == 1
    assert "none.pth cannot be read: No such file" in capsys.readouterr().err
