"""The config tree of an engine with its default values."""

from fvcore.common.config import CfgNode

from .config import get_cfg
from .evaluation_keys import add_evaluation_keys


def engine_defaults(engine: str | None) -> CfgNode:
    """detectron2's own tree, or the torchvision engine's; without an engine the latter, which has the same values.

    Raises:
        InputError: detectron2 is asked for and not installed.
    """
    if engine != "detectron2":
        return get_cfg()
    from .detectron2_engine import require_detectron2

    require_detectron2()
    from detectron2.config import get_cfg as detectron2_cfg

    return add_evaluation_keys(detectron2_cfg())
