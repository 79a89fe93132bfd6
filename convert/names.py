"""torchvision's and detectron2's names for the tensors of a ResNet trunk, one to one.

======================================  =====================================
torchvision                             detectron2
======================================  =====================================
conv1.weight                            stem.conv1.weight
bn1.running_mean                        stem.conv1.norm.running_mean
layer1.0.conv2.weight                   res2.0.conv2.weight
layer1.0.bn2.bias                       res2.0.conv2.norm.bias
layer1.0.downsample.0.weight            res2.0.shortcut.weight
layer1.0.downsample.1.running_var       res2.0.shortcut.norm.running_var
======================================  =====================================

detectron2's names carry no ``backbone.`` or ``backbone.bottom_up.`` in front: with ``matching_heuristics`` its
checkpointer finds them by their endings, in a C4 model as in one with FPN.
"""

import re

from clsa.configs.command import InputError

_NORM = r"(?P<value>weight|bias|running_mean|running_var)"
_BLOCK = r"(?P<block>\d+)"

_TORCHVISION = re.compile(
    rf"(?:layer(?P<layer>[1-4])\.{_BLOCK}\.)?"
    rf"(?:conv(?P<conv>[1-3])\.weight|bn(?P<norm>[1-3])\.{_NORM}"
    rf"|downsample\.(?:0\.weight|1\.{_NORM.replace('value', 'shortcut_value')}))"
)
_DETECTRON2 = re.compile(
    rf"(?:stem|res(?P<stage>[2-5])\.{_BLOCK})\."
    rf"(?:conv(?P<conv>[1-3])|(?P<shortcut>shortcut))\.(?:weight|norm\.{_NORM})"
)


def detectron2_name(torchvision_name: str) -> str:
    """``layer1.0.bn2.bias`` -> ``res2.0.conv2.norm.bias``.

    Raises:
        InputError: the name is none of a ResNet trunk (``fc.weight``, ``bn1.num_batches_tracked``, ...).
    """
    match = _TORCHVISION.fullmatch(torchvision_name)
    if match is None or (match["layer"] is None and "1" not in (match["conv"], match["norm"])):
        raise InputError(f"{torchvision_name!r} is not a torchvision name of a ResNet trunk's tensor")
    place = "stem" if match["layer"] is None else f"res{int(match['layer']) + 1}.{match['block']}"
    number = match["conv"] or match["norm"]
    convolution = f"conv{number}" if number else "shortcut"
    value = match["value"] or match["shortcut_value"]
    return f"{place}.{convolution}.norm.{value}" if value else f"{place}.{convolution}.weight"


def torchvision_name(detectron2_name: str) -> str:
    """``res2.0.conv2.norm.bias`` -> ``layer1.0.bn2.bias``, the inverse of :func:`detectron2_name`.

    Raises:
        InputError: the name is none of a ResNet trunk in detectron2's manner (``stem.fc.weight``, ...).
    """
    match = _DETECTRON2.fullmatch(detectron2_name)
    if match is None or (match["stage"] is None and match["conv"] != "1"):
        raise InputError(f"{detectron2_name!r} is not a detectron2 name of a ResNet trunk's tensor")
    place = "" if match["stage"] is None else f"layer{int(match['stage']) - 1}.{match['block']}."
    if match["shortcut"]:
        return f"{place}downsample.1.{match['value']}" if match["value"] else f"{place}downsample.0.weight"
    return f"{place}bn{match['conv']}.{match['value']}" if match["value"] else f"{place}conv{match['conv']}.weight"
