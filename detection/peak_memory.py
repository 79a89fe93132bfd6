"""How much memory a process has used at most."""

import resource
import sys

import torch


def peak_memory_mib(device_type: str) -> float:
    """MiB: of PyTorch's tensors on the GPU, or of the whole process where ``device_type`` is ``"cpu"``."""
    if device_type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
