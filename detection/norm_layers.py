"""The norm layers that a config can name, and the freezing of those that must stay as loaded."""

from collections.abc import Callable

import torch
from fvcore.common.config import CfgNode
from fvcore.nn.distributed import differentiable_all_reduce
from torch import distributed, nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d

from clsa.configs.command import InputError
from clsa.configs.processes import Process


class FrozenBatchNorm(FrozenBatchNorm2d):
    """Batch norm whose statistics and affine parameters are buffers: the identity until weights are loaded.

    Where no gradient is needed the fused kernel is taken, as detectron2 does: faster than torchvision's two products,
    and equal to an ordinary batch norm in eval mode to the last bit.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps)
        self.running_var -= eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)"""
        if x.requires_grad:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class NaiveSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes, each process's mean and mean square having equal weight whatever its image sizes.

    detectron2's ``naiveSyncBN``, which MoCo's detection configs take since ``SyncBN`` gave them a larger variance.
    Unlike ``torch.nn.SyncBatchNorm`` it needs no GPU. The running variance is the biased one, as there. With one
    process, or in eval mode, it is an ordinary batch norm.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)"""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(x)
        moments = torch.cat([x.float().mean((0, 2, 3)), x.float().square().mean((0, 2, 3))])  # (2 C,)
        mean, mean_square = (differentiable_all_reduce(moments) / distributed.get_world_size()).chunk(2)
        variance = mean_square - mean.square()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


NORM_LAYERS: dict[str, Callable[[int], nn.Module] | None] = {
    "": None,
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,  # without a process group an ordinary batch norm, also on CPU
    "naiveSyncBN": NaiveSyncBatchNorm,
    "FrozenBN": FrozenBatchNorm,
}


def freeze(module: nn.Module) -> None:
    """Make the parameters of ``module`` constant and the batch norms in it :class:`FrozenBatchNorm`, in place."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm2d, nn.SyncBatchNorm)):
            frozen = FrozenBatchNorm(child.num_features, child.eps)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen)
        else:
            freeze(child)


def refuse_sync_bn_on_cpu(cfg: CfgNode, process: Process) -> None:
    """PyTorch's SyncBN needs GPUs as soon as there are several processes.

    Raises:
        InputError: a norm of the config is SyncBN, and the processes run on the CPU.
    """
    if process.world_size == 1 or process.device.type != "cpu":
        return
    for node in (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD):
        if node.NORM == "SyncBN":
            raise InputError(
                "a NORM of this config is SyncBN, which several processes can only run on GPUs. On the CPU take "
                "naiveSyncBN, BN, or one process."
            )
