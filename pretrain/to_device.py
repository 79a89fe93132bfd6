"""From NumPy, on the CPU, to the device."""

import numpy as np
import torch
from torch import Tensor


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """``array`` as a tensor on ``device``, of the same shape and type; nobody waits.

    A copy out of pinned memory takes its place in the device's queue. One out of ordinary memory would first have all
    the work before it finished. On the CPU the tensor shares the array's memory.
    """
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
