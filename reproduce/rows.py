"""The rows of a table: which results are one method's trials and pretrainings, and what is said of it."""

from collections.abc import Sequence

from .measured import Measured
from .methods import look
from .protocol import flavour_of
from .recipes import of_one_recipe
from .table import Column, Row
from .trials import Sample, sample


def rows_of(method: str, measured: Sequence[Measured], columns: Sequence[Column]) -> list[Row]:
    """One for each treatment of BatchNorm and pretraining. Pretrainings of one recipe, which differ in the seed alone,
    are one row, and so is everything that the user gave one name."""
    recipes = of_one_recipe([m for m in measured if not m.named])
    groups: dict[tuple, list[Measured]] = {}
    for m in measured:
        origin = "named" if m.named else recipes.get(m.pretraining or "", m.pretraining)
        groups.setdefault((origin, m.reestimated), []).append(m)
    several = len({origin for origin, _ in groups}) > 1
    rows = []
    for (_, reestimated), found in groups.items():
        samples = tuple(_sample(found, column) for column in columns)
        if not any(samples):
            continue
        weights = tuple({m.pretraining: m.weights for m in found if m.weights}.values())
        label = look(method).label + (_which(weights) if several and weights else "")
        rows.append(
            Row(
                method,
                label + (" (BN re-estimated)" if reestimated else ""),
                look(method).kind,
                samples,
                tuple(dict.fromkeys(m.result["seed"] for m in found)),
                weights,
                _one([m.depth for m in found]),
                _one([(m.result["weights"].get("source") or {}).get("epoch") for m in found]),
                tuple(str(m.folder / "result.json") for m in found),
                reestimated,
            )
        )
    return rows


def stronger(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Of an untrained backbone's treatments of BatchNorm the better one: it is what pretraining must beat.

    By the mean over all rows of a treatment: the choice is between treatments, never between seeds.
    """
    means = {}
    for treatment in dict.fromkeys(row.reestimated for row in rows):
        firsts = [next((v for v in row.values if v is not None), -1.0) for row in rows if row.reestimated == treatment]
        means[treatment] = sum(firsts) / len(firsts)
    if len(means) == 1:
        return list(rows), ""
    ranked = sorted(means, key=lambda treatment: means[treatment], reverse=True)
    words = {True: "re-estimated", False: "as initialised"}
    said = " and ".join(f"{means[treatment]:.1f} with BN {words[treatment]}" for treatment in ranked)
    over = ", in the mean over seeds" if any(row.trials > 1 for row in rows) or len(rows) > len(means) else ""
    note = f"{look(rows[0].method).label}: {said}{over}; the stronger of the two is shown."
    return [row for row in rows if row.reestimated == ranked[0]], note


def pretrainings_note(rows: Sequence[Row]) -> str:
    """Of what the means and spreads are, where rows hold several pretrainings; else nothing."""
    if all(row.pretrainings < 2 for row in rows):
        return ""
    by_count: dict[str, list[str]] = {}
    for row in rows:
        if row.kind != "baseline" and (row.pretrainings > 1 or row.trials > 1):
            by_count.setdefault(row.made_of, []).append(row.label)
    counted = "; ".join(f"{', '.join(labels)}: {count}" for count, labels in by_count.items())
    said = f"{counted}. Mean and standard deviation are over pretrainings"
    if any(found and len(found.values) > found.count for row in rows for found in row.samples):
        said += ", each the mean of its trials"
    single = [row.label for row in rows if row.kind != "baseline" and row.pretrainings == 1]
    return said + (f"; of {', '.join(single)}, one pretraining, over its trials." if single else ".")


def _sample(measured: Sequence[Measured], column: Column) -> Sample | None:
    mine = [m for m in measured if flavour_of(m, column.key) == column.flavour]
    pretrainings = [m.pretraining or "" for m in mine]
    values = [m.result["values"].get(column.key) for m in mine]
    return sample(values, pretrainings if len(set(pretrainings)) > 1 else ())


def _which(weights: Sequence[str]) -> str:
    more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
    return f" (weights {weights[0][:8]}{more})"


def _one(found: Sequence[int | None]) -> int | None:
    return found[0] if len(set(found)) == 1 else None
