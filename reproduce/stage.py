"""One stage of the road: a command line of another ``clsa-*`` entry point, with what it reads and what it leaves."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Entry point of each console script. The stages are started through the running interpreter, not through the
#: script: a script may be absent from PATH, and the interpreter is the one that has the packages.
MODULES = {
    "clsa-data": "clsa.datasets.cli",
    "clsa-pretrain": "clsa.pretrain.cli",
    "clsa-convert": "clsa.convert.cli",
    "clsa-detect": "clsa.detection.train_net",
    "clsa-classify": "clsa.classification.cli",
}


@dataclass(frozen=True)
class Stage:
    """A command, and what must be known to skip it, to resume it or to start it anew.

    Attributes:
        kind: ``"data"``, ``"pretrain"``, ``"convert"``, ``"detect"`` or ``"classify"``.
        method: method or baseline whose row of the tables it fills; empty for the data.
        name: unique, ``method/kind/variant``: also the folder below the output folder.
        folder: where its stamp, its log and (but for a world elsewhere) its outputs lie.
        script: console script, a key of :data:`MODULES`.
        arguments: its command line, with absolute paths.
        environment: what is added to the environment.
        config_files: YAML files whose content decides the outcome.
        inputs, outputs: files, or folders that count as the list of their files and sizes.
        outside: what its command names and lies outside the output folder: a word for it -> path. Where it lies is
            no part of the stamp; what it holds is, if it is among ``inputs``.
        needs: names of the stages that come before it.
        checkpoints: pattern, below ``folder``, of what an unfinished run goes on from with ``--resume``; empty for a
            stage that starts anew.
        gpus: how many it uses.
        repeats: how many runs of the same length it is, one after another.
        expected_seconds: 0 where it is not known.
    """

    kind: str
    method: str
    name: str
    folder: Path
    script: str
    arguments: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    needs: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    config_files: tuple[Path, ...] = ()
    outside: Mapping[str, Path] = field(default_factory=dict)
    checkpoints: str = ""
    gpus: int = 0
    repeats: int = 1
    expected_seconds: float = 0

    def command(self, resume: bool = False) -> list[str]:
        """The process to start, from any working folder."""
        code = f"import sys; sys.argv[0] = {self.script!r}; from {MODULES[self.script]} import main; sys.exit(main())"
        return [sys.executable, "-c", code, *self._words(resume)]

    def shell_line(self, resume: bool = False) -> str:
        """The same for people: ``NAME=value clsa-detect ...``."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*settings, self.script, shlex.join(self._words(resume))])

    def _words(self, resume: bool) -> list[str]:
        # --resume goes before the KEY VALUE pairs, which take everything that follows them.
        words = list(self.arguments)
        if resume:
            words.insert(words.index("--num-gpus"), "--resume")
        return words
