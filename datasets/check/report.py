"""A finished check as a table for people, or as plain data for programs."""

from typing import Any

from .protocols import PROTOCOLS, DataCheck


def as_table(check: DataCheck) -> str:
    """Parts with their counts, then what is wrong with them, then which protocols can run."""
    kind = "real data (official counts)"
    if check.miniature is not None:
        kind = f"miniature world, size {check.miniature.get('size')}, seed {check.miniature.get('seed')}"
    lines = [f"{check.root}: {kind}", "", f"{'part':18} {'status':8} {'images':>10} {'expected':>10}"]
    for part in check.parts.values():
        lines.append(f"{part.name:18} {part.status:8} {part.found:>10,} {part.expected:>10,}")

    problems = [f"  {part.name}: {problem}" for part in check.parts.values() for problem in part.problems]
    if problems:
        lines += ["", "problems", *problems]

    lines += ["", f"{'protocol':28} {'':20} can it run"]
    for name in check.demanded:
        lacking = check.lacking(name)
        reasons = ", ".join(f"{part} is {check.parts[part].status}" for part in lacking)
        lines.append(f"{PROTOCOLS[name].title:28} {name:20} {'no: ' + reasons if lacking else 'yes'}")
    return "\n".join(lines)


def as_data(check: DataCheck) -> dict[str, Any]:
    """The same for ``json.dump``."""
    return {
        "root": str(check.root),
        "miniature": check.miniature,
        "parts": {
            part.name: {
                "status": part.status,
                "images": part.found,
                "expected": part.expected,
                "problems": part.problems,
            }
            for part in check.parts.values()
        },
        "protocols": {
            name: {"runs": not check.lacking(name), "lacking": check.lacking(name)} for name in check.demanded
        },
        "passed": check.passed,
    }
