"""Checkpoints of the repositories in which the methods were published.

``module.`` is what DistributedDataParallel puts before every name; people strip it, so it may be missing.
"""

from .layout import Layout, sequential_name

_STATE = r"(state_dict/)?(module\.)?"
_MODEL = r"model/(module\.)?"
_LIGHTNING = r"pytorch-lightning_version"

METHODS = (
    Layout(
        name="moco",
        documented="facebookresearch/moco main_moco.py and moco/builder.py (v1, v2); "
        "maple-research-lab/CLSA training/main_worker.py and model/CLSA.py",
        signature=(rf"{_STATE}encoder_q\.[a-z].*",),
        without=(r"state_dict/backbone\..*",),
        prefix=rf"{_STATE}encoder_q\.",
        drops={
            "head": rf"{_STATE}encoder_q\.fc\..*",
            "key network": rf"{_STATE}encoder_k\..*",
            "queue": rf"{_STATE}queue(_ptr)?",
        },
        taken="query network",
        other=rf"{_STATE}encoder_k\.",
    ),
    Layout(
        name="moco-v3",
        documented="facebookresearch/moco-v3 main_moco.py and moco/builder.py",
        signature=(rf"{_STATE}base_encoder\.conv1\.weight",),
        prefix=rf"{_STATE}base_encoder\.",
        drops={
            "head": rf"{_STATE}(base_encoder\.fc|predictor)\..*",
            "key network": rf"{_STATE}momentum_encoder\..*",
        },
        taken="base encoder",
        other=rf"{_STATE}momentum_encoder\.",
    ),
    Layout(
        name="simsiam",
        documented="facebookresearch/simsiam main_simsiam.py and simsiam/builder.py",
        signature=(rf"{_STATE}encoder\.conv1\.weight",),
        without=(_LIGHTNING,),
        prefix=rf"{_STATE}encoder\.",
        drops={"head": rf"{_STATE}(encoder\.fc|predictor)\..*"},
    ),
    Layout(
        name="swav",
        documented="facebookresearch/swav main_swav.py and src/resnet50.py",
        signature=(rf"{_STATE}conv1\.weight", rf"{_STATE}prototypes\.weight"),
        prefix=_STATE,
        drops={"head": rf"{_STATE}projection_head\..*", "prototypes": rf"{_STATE}prototypes\.weight"},
    ),
    Layout(
        name="deepcluster-v2",
        documented="facebookresearch/swav main_deepclusterv2.py and src/resnet50.py (MultiPrototypes)",
        signature=(rf"{_STATE}conv1\.weight", rf"{_STATE}prototypes\.prototypes0\.weight"),
        prefix=_STATE,
        drops={
            "head": rf"{_STATE}projection_head\..*",
            "prototypes": rf"{_STATE}prototypes\.prototypes\d+\.weight",
        },
    ),
    Layout(
        name="barlow-twins",
        documented="facebookresearch/barlowtwins main.py (checkpoint.pth)",
        signature=(rf"{_MODEL}backbone\.conv1\.weight", rf"{_MODEL}bn\.running_mean"),
        prefix=rf"{_MODEL}backbone\.",
        drops={"head": rf"{_MODEL}(projector|bn)\..*"},
    ),
    Layout(
        name="vicreg",
        documented="facebookresearch/vicreg main_vicreg.py (model.pth) and resnet.py",
        signature=(rf"{_MODEL}backbone\.conv1\.weight",),
        without=(rf"{_MODEL}bn\.running_mean",),
        prefix=rf"{_MODEL}backbone\.",
        drops={"head": rf"{_MODEL}projector\..*"},
    ),
    Layout(
        name="dino",
        documented="facebookresearch/dino main_dino.py and utils.py (MultiCropWrapper)",
        signature=(r"teacher/(module\.)?backbone\.conv1\.weight",),
        prefix=r"teacher/(module\.)?backbone\.",  # what its own eval_linear.py takes
        drops={
            "head": r"teacher/(module\.)?head\..*",
            "student network": r"student/.*",
            "loss": r"dino_loss(/.*)?",
        },
        taken="teacher network",
        other=r"student/(module\.)?backbone\.",
    ),
    Layout(
        name="pycontrast",
        documented="HobbitLong/PyContrast pycontrast/learning/contrast_trainer.py and networks/build_backbone.py "
        "(InsDis, MoCo, InfoMin)",
        signature=(rf"{_MODEL}encoder\.conv1\.weight",),
        without=(rf"{_MODEL}projector\..*",),
        prefix=rf"{_MODEL}encoder\.",
        drops={
            "head": rf"{_MODEL}head(_jig)?\..*",
            "averaged network": r"model_ema(/.*)?",
            "memory": r"contrast(/.*)?",
        },
        taken="query network",
        other=r"model_ema/(module\.)?encoder\.",
    ),
    Layout(
        name="pixpro",
        documented="zdaxie/PixPro main_pretrain.py and contrast/models/PixPro.py",
        signature=(rf"{_MODEL}encoder\.conv1\.weight", rf"{_MODEL}projector\..*"),
        prefix=rf"{_MODEL}encoder\.",
        drops={
            "head": rf"{_MODEL}(projector|projector_k|projector_instance|projector_instance_k|predictor"
            r"|value_transform)\..*",
            "key network": rf"{_MODEL}encoder_k\..*",
        },
        taken="online network",
        other=rf"{_MODEL}encoder_k\.",
    ),
    Layout(
        name="byol",
        documented="sthalles/PyTorch-BYOL trainer.py and models/resnet_base_network.py",
        signature=(r"online_network_state_dict/(module\.)?encoder\.0\.weight",),
        prefix=r"online_network_state_dict/(module\.)?encoder\.",
        rename=sequential_name,
        drops={
            "head": r"online_network_state_dict/(module\.)?proje(c)?tion\..*",  # spelt "projetion" there
            "target network": r"target_network_state_dict/.*",
        },
        taken="online network",
        other=r"target_network_state_dict/(module\.)?encoder\.",
    ),
    Layout(
        name="byol-pytorch",
        documented="lucidrains/byol-pytorch byol_pytorch/byol_pytorch.py (the state dict of BYOL)",
        signature=(rf"{_STATE}online_encoder\.net\.conv1\.weight",),
        prefix=rf"{_STATE}online_encoder\.net\.",
        drops={
            "head": rf"{_STATE}(online_encoder\.(net\.fc|projector)|net\.fc|online_predictor)\..*",
            "the same network again": rf"{_STATE}net\..*",
            "target network": rf"{_STATE}target_encoder\..*",
        },
        taken="online network",
        other=rf"{_STATE}target_encoder\.net\.",
        same=rf"{_STATE}net\.",
    ),
)
