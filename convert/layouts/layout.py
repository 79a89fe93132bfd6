"""What has to be known of a layout of checkpoints: how it is recognised, which keys are the trunk, what is dropped.

Keys are flat: ``state_dict/module.encoder_q.conv1.weight`` is the key ``module.encoder_q.conv1.weight`` of the
dictionary that stands under ``state_dict``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clsa.convert.names import detectron2_name


def same_name(name: str) -> str:
    """torchvision's own names; an ``InputError`` for what is no trunk tensor."""
    detectron2_name(name)
    return name


def sequential_name(name: str) -> str:
    """``4.0.conv1.weight`` -> ``layer1.0.conv1.weight``: names in ``nn.Sequential(*list(resnet.children())[:-1])``."""
    number, _, rest = name.partition(".")
    children = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    return same_name(f"{children.get(number, f'child {number}')}.{rest}")


#: Entries beside the networks, in whatever repository: rule -> pattern. None of them holds weights of a network.
TRAINING_STATE = {
    "optimizer": r"(optimizer|optimizers|optimizer_state_dict|optimizer_states|scheduler|lr_scheduler|lr_schedulers"
    r"|param_schedulers|scaler|grad_scaler|amp|amp_scaler|fp16_scaler|native_amp_scaling_state)(/.*)?",
    "bookkeeping": r"(epoch|iteration|iteration_num|step|global_step|phase_idx|train_phase_idx|arch|best_acc1?|metric"
    r"|args|opt|cfg|config|version|saver|meta|message_hub|author|type"
    r"|pytorch-lightning_version|loops|callbacks|hparams_name|hparams_type|hyper_parameters|datamodule_\w+)(/.*)?",
}


@dataclass(frozen=True)
class Layout:
    """One way of laying out a checkpoint. Patterns match whole keys; prefixes, their beginning.

    Attributes:
        name: as the manifest and ``--from`` name it.
        documented: where the layout can be read in public.
        signature: a checkpoint is of this layout if each of these patterns matches one of its keys ...
        without: ... and none of these does.
        prefix: what stands before the name of a trunk tensor.
        rename: the rest of the key -> torchvision's name; an ``InputError`` for what is not a trunk tensor.
        drops: name of a rule -> which keys it drops, in the order in which they are tried. :data:`TRAINING_STATE` and
            the counters of the trunk's batch norms are dropped in every layout.
        taken: what the network is called that is taken, where there are two.
        other: prefix of the second network (key, teacher, target, averaged); a rule of ``drops`` covers it.
        same: prefix under which the checkpoint repeats the very same network; a rule of ``drops`` covers it.
    """

    name: str
    documented: str
    signature: tuple[str, ...]
    prefix: str
    without: tuple[str, ...] = ()
    rename: Callable[[str], str] = same_name
    drops: Mapping[str, str] = field(default_factory=dict)
    taken: str = "network"
    other: str | None = None
    same: str | None = None
