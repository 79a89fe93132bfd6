"""Which images each process takes at each step: a function of (seed, epoch), so that training can stop anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass

from clsa.configs.processes import Process

from .seeding import Purpose, generator


@dataclass(frozen=True)
class BatchOrder:
    """For steps ``start + 1`` to ``stop``, the (epoch, index) pairs of one process, a list for each step.

    Each epoch is a new permutation of the images; those that do not fill a batch are dropped. Process r takes the r-th
    part of each batch, so that the keys gathered in rank order are in the order of a single process.
    """

    images: int
    batch_size: int
    seed: int
    start: int
    stop: int
    process: Process

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.batch_size

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.process.world_size
        permutation, of_epoch = None, -1
        for iteration in range(self.start, self.stop):
            epoch, step = divmod(iteration, self.steps_per_epoch)
            if epoch != of_epoch:
                permutation, of_epoch = generator(Purpose.ORDER, self.seed, epoch).permutation(self.images), epoch
            first = step * self.batch_size + self.process.rank * share
            yield [(epoch, int(index)) for index in permutation[first : first + share]]
