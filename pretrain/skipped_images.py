"""The list of images that could not be read, with DATA.SKIP_BAD: ``OUTPUT_DIR/skipped_images.txt``."""

import logging
import os
from pathlib import Path

from clsa.configs.processes import Process


class SkippedImages:
    """Collects what the loaders of all processes skip; the first process writes one line for each image and its reason.

    A resumed run goes on with the list; a new one begins it.
    """

    def __init__(self, output_dir: str | os.PathLike, process: Process, start: int) -> None:
        self.path, self.process = Path(output_dir) / "skipped_images.txt", process
        self.listed: set[str] = set()
        self.new: dict[str, str] = {}
        if process.is_main and self.path.exists():
            if start:
                lines = self.path.read_text(encoding="utf-8").splitlines()
                self.listed = {line.partition("\t")[0] for line in lines}
            else:
                self.path.unlink()

    def note(self, skipped: list[tuple[str, str]]) -> None:
        """(name, reason) of images that this process skipped in a batch."""
        self.new.update(skipped)

    def count(self, log: logging.Logger) -> int:
        """Write down what is new; how many images are listed. Called by all processes; only the first one's counts."""
        found = {name: why for new in self.process.gather(self.new) or [] for name, why in new.items()}
        self.new = {}
        found = {name: why for name, why in sorted(found.items()) if name not in self.listed}
        if self.process.is_main and found:
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(f"{name}\t{why}\n" for name, why in found.items())
            self.listed |= found.keys()
            log.warning("%d images cannot be read and are skipped, see %s", len(self.listed), self.path)
        return len(self.listed)
