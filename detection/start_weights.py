"""What a detector starts from must be said: weights, or in so many words none.

A run that began with random weights because a path was forgotten looks like any other, its AP like a bad backbone's.
"""

from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from clsa.configs.command import InputError
from clsa.configs.loading import find_config

from .detector_checkpoint import last_checkpoint

#: What published configs put where the user's own weights belong.
PLACEHOLDER = "See Instructions"


def require_choice(config_file: str, overrides: Sequence[str], output_dir: str, resume: bool, eval_only: bool) -> None:
    """Stop unless ``MODEL.WEIGHTS`` was given in the config or on the command line, or a checkpoint takes its place.

    Args:
        config_file: its YAML, with the ``_BASE_`` files, is asked whether the key is there at all: ``""`` there, or on
            the command line, is a random start; a key that nobody set is not.
        output_dir: with ``resume`` its last checkpoint, if any, is what the run goes on from.

    Raises:
        InputError: nobody gave ``MODEL.WEIGHTS``, or it is still "See Instructions".
    """
    if resume and last_checkpoint(output_dir):
        return
    given = _given(config_file, overrides)
    if given not in (None, PLACEHOLDER):
        return
    what = "is not given" if given is None else f"is {PLACEHOLDER!r}"
    if eval_only:
        raise InputError(
            f"--eval-only needs a detector, and MODEL.WEIGHTS {what}: give MODEL.WEIGHTS OUTPUT_DIR/model_final.pth of "
            "a finished run, or --resume with its OUTPUT_DIR."
        )
    raise InputError(
        f"MODEL.WEIGHTS {what}. Say what to start from: MODEL.WEIGHTS FILE, a backbone written by clsa-convert "
        '(self-supervised or supervised), or MODEL.WEIGHTS "" for random initialisation.'
    )


def _given(config_file: str, overrides: Sequence[str]) -> str | None:
    in_file = CfgNode.load_yaml_with_base(str(Path(find_config(config_file)))).get("MODEL", {}).get("WEIGHTS")
    on_command_line = [
        value for key, value in zip(overrides[0::2], overrides[1::2], strict=True) if key == "MODEL.WEIGHTS"
    ]
    return on_command_line[-1] if on_command_line else in_file
