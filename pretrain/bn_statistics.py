"""BN's running statistics, estimated anew when training is over (MODEL.BN_STATISTICS re_estimated).

While training they follow weights that are not yet the final ones, and strong views, which nobody evaluates on.
"Precise BN", section 3 of "Rethinking 'Batch' in BatchNorm", takes their mean over many batches with the final weights.
"""

from collections.abc import Callable, Iterator

from fvcore.common.config import CfgNode
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import Tensor, nn

from clsa.configs.processes import Process

from .data import ViewBatch, batches
from .networks import Encoder
from .sources import Source


def re_estimate(
    query: Encoder,
    cfg: CfgNode,
    source: Source,
    process: Process,
    normalise: Callable[[ViewBatch], Tensor],
    done: int,
) -> None:
    """Replace the running mean and variance of every BN of ``query``, in training mode, by those over weak views.

    BN_REESTIMATION_STEPS batches go through it in float32, without gradients: those that steps ``done + 1`` and on
    would have been given. The order and the views follow from the seed, so that a resumed run finds the same. Each
    process takes its share; the population's mean and variance are put together from theirs.
    """
    network = nn.Sequential(query.backbone, query.head)
    update_bn_stats(network, _weak_views(cfg, source, process, normalise, done), cfg.MODEL.BN_REESTIMATION_STEPS)
    for norm in get_bn_modules(network):
        own_mean, own_square = norm.running_mean, norm.running_var + norm.running_mean**2
        norm.running_mean = process.mean(own_mean)
        if process.world_size > 1:
            norm.running_var = process.mean(own_square) - norm.running_mean**2


def _weak_views(
    cfg: CfgNode, source: Source, process: Process, normalise: Callable[[ViewBatch], Tensor], done: int
) -> Iterator[Tensor]:
    """The first weak query's view of each batch, N x 3 x S x S."""
    only_weak = cfg.clone()
    only_weak.defrost()
    only_weak.METHOD, only_weak.STRONG.AS_QUERY, only_weak.STRONG.AS_KEY = "moco_v2", False, False
    for views in batches(only_weak, source, process, done, done + cfg.MODEL.BN_REESTIMATION_STEPS):
        yield normalise(views[1])
