"""What changes during training, as pure functions of the step: resuming needs no state of theirs."""

from fvcore.common.config import CfgNode
from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler


def learning_rate(cfg: CfgNode, iteration: int, max_iter: int, steps_per_epoch: int = 1) -> float:
    """Learning rate of step ``iteration`` in [1, max_iter]: linear warm-up if there is one, then a cosine to 0.

    The cosine moves at each step, or with SOLVER.COSINE_PER_EPOCH at the first step of each epoch (MoCo v2's code and
    the paper's).
    """
    warmup = min(cfg.SOLVER.WARMUP_ITERS, max_iter)
    done = iteration - 1
    if cfg.SOLVER.COSINE_PER_EPOCH and done >= warmup:
        done = max(warmup, done - done % steps_per_epoch)
    progress = done / max_iter  # [0, 1)
    cosine = CosineParamScheduler(cfg.SOLVER.LR, 0.0)
    if not warmup:
        return cosine(progress)
    rise = LinearParamScheduler(cfg.SOLVER.LR / warmup, cfg.SOLVER.LR)
    share = warmup / max_iter
    return CompositeParamScheduler([rise, cosine], [share, 1 - share], ["rescaled", "rescaled"])(progress)


def ddm_weight(cfg: CfgNode, iteration: int) -> float:
    """Beta of step ``iteration`` >= 1: 0 for BETA_ZERO_STEPS steps, then linear to BETA over BETA_RAMP_STEPS steps."""
    into_ramp = iteration - cfg.LOSS.BETA_ZERO_STEPS
    if into_ramp <= 0:
        return 0.0
    return cfg.LOSS.BETA * min(1.0, into_ramp / max(1, cfg.LOSS.BETA_RAMP_STEPS))
