"""What one of several processes knows of the others, and what they tell each other.

PyTorch is imported when it is needed: a command line must not wait for it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Process:
    """Which of the ``world_size`` processes this is, and where it computes.

    What they exchange, all of them must ask for, in the same order.
    """

    rank: int
    world_size: int
    device: "torch.device"

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes the files."""
        return self.rank == 0

    def sum(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """Elementwise sum of the tensors of all processes, in each of them. Without gradient."""
        if self.world_size == 1:
            return tensor
        from torch import distributed

        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def mean(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """Elementwise mean of the floating-point tensors of all processes, in each of them. Without gradient."""
        return self.sum(tensor) / self.world_size

    def concatenated(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """The tensors of all processes (equal shapes), joined along dimension 0 in rank order. Without gradient."""
        if self.world_size == 1:
            return tensor.detach()
        import torch

        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.world_size)]
        torch.distributed.all_gather(parts, tensor.detach().contiguous())
        return torch.cat(parts)

    def gather(self, value: Any) -> list[Any] | None:
        """The picklable ``value`` of every process, in rank order, in the main process; None in the others."""
        if self.world_size == 1:
            return [value]
        from torch import distributed

        values = [None] * self.world_size if self.is_main else None
        distributed.gather_object(value, values)
        return values

    def broadcast(self, value: Any) -> Any:
        """The main process's picklable ``value``, in every process."""
        if self.world_size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def broadcast_buffers(self, model: "torch.nn.Module") -> None:
        """Give every process the main one's buffers: BN statistics differ between processes after training."""
        if self.world_size == 1:
            return
        from torch import distributed

        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)
