"""``clsa-detect --explain F``: what a config does otherwise than the nearest named protocol, and why that moves AP."""

import json
import sys
from collections.abc import Sequence

from fvcore.common.config import CfgNode

from .foreign_keys import ignored_line, load_detector_config
from .protocols import Comparison, compare

#: Exit code where there are differences, so that a script can ask; 1 is an error.
DIFFERENT = 3


def explain(defaults: CfgNode, config_file: str, overrides: Sequence[str], protocol: str | None, as_json: bool) -> int:
    """Print the comparison; 0 if the config is the protocol to the last key that moves AP, else 3.

    Args:
        defaults: tree of the engine that the config is for; weights and data are not looked at.
        protocol: name of one; None: the nearest.

    Raises:
        InputError: the config cannot be read; no such protocol.
    """
    if (line := ignored_line(config_file, overrides)) is not None:
        print(line, file=sys.stderr)
    comparison = compare(load_detector_config(defaults, config_file, overrides), protocol)
    if as_json:
        print(json.dumps({"config": config_file, **comparison.as_record()}, indent=1))
    else:
        print(as_text(comparison, config_file, "the nearest protocol" if protocol is None else "protocol"))
    return DIFFERENT if comparison.differences else 0


def as_text(comparison: Comparison, config_file: str, words: str) -> str:
    """Two lines a difference: key, value and the protocol's value; why it matters."""
    lines = [
        f"{config_file} beside {words}, {comparison.protocol}: {len(comparison.differences)} differences that move AP"
    ]
    for difference in comparison.differences:
        lines.append(f"  {difference.key}: {_shown(difference.value)}, protocol {_shown(difference.protocol_value)}")
        lines.append(f"      {difference.why}")
    if comparison.follows_scaling_rule is not None:
        verdict = "is" if comparison.follows_scaling_rule else "is not"
        lines.append(f"The schedule {verdict} what --auto-scale makes of the protocol's for this SOLVER.IMS_PER_BATCH.")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)
