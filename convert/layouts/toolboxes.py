"""Checkpoints of repositories that hold many methods."""

from .layout import Layout, sequential_name

_LIGHTNING = r"pytorch-lightning_version"
_VISSL = r"(classy_state_dict/base_model/model/trunk|model_state_dict)/"
_LIGHTLY_OTHER = r"(backbone_momentum|key_backbone|teacher_backbone|student_backbone)"
_LIGHTLY_HEAD = r"(\w*projection_head\w*|prediction_head|prototypes|student_head|teacher_head|online_classifier)"
_OPENMMLAB_OTHER = r"(encoder_k|target_net|momentum_encoder)"

TOOLBOXES = (
    Layout(
        name="solo-learn",
        documented="vturrisi/solo-learn solo/methods/base.py and main_linear.py (older ones: encoder. for backbone.)",
        signature=(_LIGHTNING, r"state_dict/(backbone|encoder)\.conv1\.weight"),
        without=(r"state_dict/(projection_head|online_classifier)\..*",),
        prefix=r"state_dict/(backbone|encoder)\.",
        drops={
            "head": r"state_dict/(momentum_)?(projector|predictor|classifier|head|prototypes)\b.*",
            "key network": r"state_dict/momentum_(backbone|encoder)\..*",
            "queue": r"state_dict/(queue\w*|local_memory_\w+)",
            "loss": r"state_dict/dino_loss_func\..*",
        },
        taken="online network",
        other=r"state_dict/momentum_(backbone|encoder)\.",
    ),
    Layout(
        name="lightly",
        documented="lightly-ai/lightly benchmarks/imagenet/resnet50/",
        signature=(r"state_dict/backbone\.conv1\.weight", r"state_dict/(projection_head|online_classifier)\..*"),
        prefix=r"state_dict/backbone\.",
        drops={
            "head": rf"state_dict/{_LIGHTLY_HEAD}\..*",
            "second network": rf"state_dict/{_LIGHTLY_OTHER}\..*",
            "loss": r"state_dict/criterion\..*",
        },
        taken="network called backbone",
        other=rf"state_dict/{_LIGHTLY_OTHER}\.",
    ),
    Layout(
        name="lightly-sequential",
        documented="lightly-ai/lightly examples/pytorch_lightning/",
        signature=(r"state_dict/backbone\.0\.weight",),
        prefix=r"state_dict/backbone\.",
        rename=sequential_name,
        drops={
            "head": rf"state_dict/{_LIGHTLY_HEAD}\..*",
            "second network": rf"state_dict/{_LIGHTLY_OTHER}\..*",
            "loss": r"state_dict/criterion\..*",
        },
        taken="network called backbone",
        other=rf"state_dict/{_LIGHTLY_OTHER}\.",
    ),
    Layout(
        name="lightly-dino",
        documented="lightly-ai/lightly examples/pytorch_lightning/dino.py",
        signature=(r"state_dict/teacher_backbone\.0\.weight",),
        without=(r"state_dict/backbone\..*",),
        prefix=r"state_dict/teacher_backbone\.",
        rename=sequential_name,
        drops={
            "head": rf"state_dict/{_LIGHTLY_HEAD}\..*",
            "student network": r"state_dict/student_backbone\..*",
            "loss": r"state_dict/criterion\..*",
        },
        taken="teacher network",
        other=r"state_dict/student_backbone\.",
    ),
    Layout(
        name="vissl",
        documented="facebookresearch/vissl vissl/hooks/log_hooks.py, vissl/models/trunks/resnext.py and "
        "extra_scripts/convert_vissl_to_torchvision.py",
        signature=(rf"{_VISSL}(module\.)?_feature_blocks\.conv1\.weight",),
        prefix=rf"{_VISSL}(module\.)?_feature_blocks\.",
        drops={
            "head": r"classy_state_dict/base_model/model/heads(/.*)?",
            "loss": r"loss(/.*)?",  # MoCo's key network and queue are in it
            "training state": r"classy_state_dict/(?!base_model/model/).*",
        },
        taken="trained network",
        other=r"loss/moco_encoder\.trunk\.(base_model\.)?_feature_blocks\.",
    ),
    Layout(
        name="openmmlab",
        documented="open-mmlab/mmpretrain and mmselfsup models/algorithms/base.py; open-mmlab/OpenSelfSup "
        "openselfsup/models/moco.py, byol.py",
        signature=(r"(state_dict/)?backbone\.conv1\.weight",),
        without=(_LIGHTNING, r"state_dict/(projection_head|online_classifier|projector)\..*"),
        prefix=r"(state_dict/)?backbone\.",
        drops={
            "head": r"(state_dict/)?(neck|head)\..*",
            "classifier of the backbone": r"(state_dict/)?backbone\.fc\..*",
            "the same network again": r"state_dict/(encoder_q|online_net)\..*",
            "key network": rf"state_dict/{_OPENMMLAB_OTHER}\..*",
            "queue": r"state_dict/(queue2?(_ptr)?|memory_bank\..*)",
            "preprocessing": r"state_dict/(data_preprocessor|target_generator)\..*",
        },
        taken="network called backbone",
        other=rf"state_dict/{_OPENMMLAB_OTHER}\.(module\.)?0\.",
        same=r"state_dict/(encoder_q|online_net)\.0\.",
    ),
    Layout(
        name="openmmlab-extracted",
        documented="open-mmlab/OpenSelfSup and mmselfsup extract_backbone_weights.py",
        signature=(r"author", r"state_dict/conv1\.weight"),
        prefix=r"state_dict/",
        drops={"head": r"state_dict/fc\..*"},
    ),
    Layout(
        name="timm",
        documented="huggingface/pytorch-image-models timm/utils/checkpoint_saver.py",
        signature=(r"state_dict/conv1\.weight",),
        without=(r"author", r"state_dict_ema/conv1\.weight"),
        prefix=r"state_dict/",
        drops={"head": r"state_dict/fc\..*", "averaged network": r"state_dict_ema(/.*)?"},
        taken="trained network",
        other=r"state_dict_ema/",
    ),
    Layout(
        name="timm-ema",
        documented="huggingface/pytorch-image-models timm/utils/checkpoint_saver.py, timm/models/_helpers.py",
        signature=(r"state_dict_ema/conv1\.weight",),
        prefix=r"state_dict_ema/",  # what timm itself loads when it is there
        drops={"head": r"state_dict_ema/fc\..*", "trained network": r"state_dict/.*"},
        taken="averaged network",
        other=r"state_dict/",
    ),
)
