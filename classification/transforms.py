"""How an image becomes the square that a backbone sees: no randomness, so that features can be computed once."""

from fvcore.common.config import CfgNode
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from clsa.configs.command import InputError

#: Of RGB in [0, 1]; what torchvision's, MoCo's and CLSA's backbones were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build_geometry(cfg: CfgNode) -> Compose:
    """PIL image -> PIL image of FEATURES.SIZE x FEATURES.SIZE; bilinear with antialiasing, as PIL resizes.

    Args:
        cfg: the ``FEATURES`` node. ``square`` keeps all of the image and loses its aspect (vissl's SVM benchmark);
            ``center_crop`` keeps the aspect and loses the border (torchvision's evaluation). Objects at the border
            make the two different measurements.
    """
    if cfg.SIZE < 32 or cfg.RESIZE < cfg.SIZE:
        raise InputError(
            f"FEATURES.SIZE {cfg.SIZE} and FEATURES.RESIZE {cfg.RESIZE}: SIZE must be at least 32, "
            "and RESIZE at least SIZE"
        )
    shorter_side = Resize(cfg.RESIZE, InterpolationMode.BILINEAR)
    if cfg.TRANSFORM == "square":
        return Compose([shorter_side, Resize((cfg.SIZE, cfg.SIZE), InterpolationMode.BILINEAR)])
    if cfg.TRANSFORM == "center_crop":
        return Compose([shorter_side, CenterCrop(cfg.SIZE)])
    raise InputError(f"FEATURES.TRANSFORM {cfg.TRANSFORM!r} is unknown. Give square or center_crop.")


def build_network_input(cfg: CfgNode) -> Compose:
    """PIL image -> float32 tensor (3, SIZE, SIZE), RGB, in ImageNet's mean and standard deviation."""
    return Compose([build_geometry(cfg), ToTensor(), Normalize(IMAGENET_MEAN, IMAGENET_STD)])
