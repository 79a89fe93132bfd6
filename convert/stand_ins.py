"""The harmless types that checkpoints carry beside their tensors, and what stands in for each while they are read.

VISSL, Lightning, OpenMMLab, DINO and others store options and bookkeeping as objects of their own or of the standard
library's classes. ``torch.load(weights_only=True)`` refuses those. They are admitted here by name, but the classes
themselves are never imported, made or called: each name resolves to a class below that takes down what the
pickle says and does nothing. Options can then be shown; everything else is dropped.

Whatever is not in this list is refused.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .numpy_pickle import ADMITTED


class StandIn:
    """An object that was not made: what the pickle says of it. ``state``: its attributes."""

    state: Any = None

    def __new__(cls, *arguments: Any) -> "StandIn":
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *arguments: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class StandInForDict:
    """For subclasses of dict, whose entries the pickle sets: a plain ordered dictionary takes them."""

    def __new__(cls, *arguments: Any) -> OrderedDict:
        return OrderedDict()


_OPAQUE = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "datetime.datetime",
    "datetime.timedelta",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    # names of types, as omegaconf and defaultdict keep them
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "int", "float", "str", "bool", "object")),
    "typing.Any",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean", "Path")),
    "torch.torch_version.TorchVersion",
    # Lightning: callbacks are stored under their classes (old) and with their enums
    *(
        f"{package}.{name}"
        for package in ("pytorch_lightning", "lightning", "lightning.pytorch")
        for name in (
            "callbacks.model_checkpoint.ModelCheckpoint",
            "callbacks.early_stopping.EarlyStopping",
            "callbacks.lr_monitor.LearningRateMonitor",
            "callbacks.progress.ProgressBar",
            "callbacks.timer.Timer",
            "trainer.states.RunningStage",
        )
    ),
    "solo.utils.checkpointer.Checkpointer",
    "vissl.utils.checkpoint.CheckpointItemType",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.ConfigDict",
    "mmcv.utils.config.ConfigDict",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
    "numpy.dtypes.BoolDType",
)

_DICTIONARIES = (
    "collections.defaultdict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "vissl.utils.hydra_config.AttrDict",
    "vissl.config.attr_dict.AttrDict",
    "classy_vision.generic.util.AttrDict",
    "easydict.EasyDict",
    "addict.addict.Dict",
    "munch.Munch",
    "yacs.config.CfgNode",
    "fvcore.common.config.CfgNode",
    "ml_collections.config_dict.config_dict.ConfigDict",
)


def _stand_ins() -> list[tuple[Callable[..., Any], str]]:
    opaque = [(type(name.rpartition(".")[2], (StandIn,), {"stands_for": name}), name) for name in _OPAQUE]
    dictionaries = [(type(name.rpartition(".")[2], (StandInForDict,), {}), name) for name in _DICTIONARIES]
    return (
        opaque + dictionaries + [(stand_in, name) for name, stand_in in ADMITTED.items() if "OrderedDict" not in name]
    )


#: What ``torch.serialization.safe_globals`` is given: (stand-in, name in the pickle).
STAND_INS = _stand_ins()
