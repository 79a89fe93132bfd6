"""One part of a data root, a split of one data set, and what was found there."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from clsa.configs.command import InputError

from ..images import open_rgb


@dataclass
class Part:
    """``name`` is also its path below the root. ``found`` images of ``expected`` are there, in ``images``."""

    name: str
    expected: int
    found: int = 0
    present: bool = True
    problems: list[str] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)

    @property
    def status(self) -> str:
        """``"ok"``, ``"missing"``, ``"wrong"`` or ``"short"``."""
        if not self.present:
            return "missing"
        if self.problems or self.found > self.expected:
            return "wrong"
        return "short" if self.found < self.expected else "ok"

    def say(self, problem: str, names: Sequence[str] = ()) -> None:
        """Note a problem, with how many ``names`` it concerns and the first of them."""
        if names:
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            problem = f"{len(names):,} {problem}: {', '.join(names[:3])}{more}"
        self.problems.append(problem)

    def is_missing(self, advice: str) -> None:
        self.present = False
        self.say(advice)


def decode_images(parts: Iterable[Part]) -> None:
    """Decode every image of the parts and note the unreadable ones. Takes as long as an epoch of reading."""
    for part in parts:
        with ThreadPoolExecutor() as pool:  # threads are enough: Pillow decodes outside the interpreter's lock
            reasons = pool.map(_unreadable, part.images, chunksize=64)
            bar = tqdm(reasons, desc=f"decode {part.name}", total=len(part.images), unit=" images", disable=None)
            broken = [path.name for path, is_broken in zip(part.images, bar, strict=True) if is_broken]
        if broken:
            part.say("images cannot be decoded; replace them with whole copies", broken)


def _unreadable(path: Path) -> bool:
    try:
        open_rgb(path)
    except InputError:
        return True
    return False
