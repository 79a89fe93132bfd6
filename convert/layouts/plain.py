"""Networks as they are: our checkpoints, torchvision's state dicts and those of its training scripts, detectron2's."""

from clsa.convert.names import torchvision_name

from .layout import Layout, sequential_name

_SWAV = r"(module\.)?(projection_head|prototypes)\..*"

PLAIN = (
    Layout(
        name="clsa-pretrain",
        documented="this repository, pretrain/",
        signature=(r"query/backbone\.conv1\.weight",),
        prefix=r"query/backbone\.",
        taken="query network",
        other=r"key/backbone\.",
        drops={
            "head": r"query/head\..*",
            "key network": r"key(/.*)?",
            "queue": r"queue.*",
            "optimizer": r"(optimizer|scaler|scheduler)(/.*)?",
            "training state": r"(?!query/).*",  # positions, random states, config: no weights by our own definition
        },
    ),
    Layout(
        name="torchvision",
        documented="pytorch/vision torchvision/models/resnet.py; so the bare resnet50.pth of facebookresearch/"
        "barlowtwins and vicreg, dino_resnet50_pretrain.pth of facebookresearch/dino, timm's weights",
        signature=(r"conv1\.weight",),
        without=(_SWAV,),
        prefix=r"",
        drops={"head": r"fc\..*"},
    ),
    Layout(
        name="torchvision-sequential",
        documented="pytorch/vision torchvision/models/resnet.py, as nn.Sequential(*list(resnet.children())[:-1])",
        signature=(r"0\.weight", r"4\.0\.conv1\.weight"),
        prefix=r"",
        rename=sequential_name,
    ),
    Layout(
        name="torchvision-references",
        documented="pytorch/vision references/classification/train.py",
        signature=(r"model/(module\.)?conv1\.weight",),
        prefix=r"model/(module\.)?",
        drops={"head": r"model/(module\.)?fc\..*", "averaged network": r"model_ema(/.*)?"},
        taken="trained network",
        other=r"model_ema/(module\.)+",
    ),
    Layout(
        name="pytorch-examples",
        documented="pytorch/examples imagenet/main.py; so the linear probes of facebookresearch/moco main_lincls.py",
        signature=(r"(state_dict/)?module\.conv1\.weight",),
        without=(rf"(state_dict/)?{_SWAV}",),
        prefix=r"(state_dict/)?module\.",
        drops={"head": r"(state_dict/)?module\.fc\..*"},
    ),
    Layout(
        name="detectron2",
        documented="facebookresearch/detectron2 detectron2/checkpoint/detection_checkpoint.py; "
        "facebookresearch/moco detection/convert-pretrain-to-detectron2.py",
        signature=(r"(model/)?stem\.conv1\.weight",),
        prefix=r"(model/)?",
        rename=torchvision_name,
        drops={
            "head": r"(model/)?stem\.fc\..*",  # MoCo's script leaves it in
            "bookkeeping": r"__author__|matching_heuristics",
        },
    ),
)
