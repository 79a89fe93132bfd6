"""The report's numbers as CSV: a line a value, with everything that must be known to compare it."""

import csv
import io

from .content import Content

FIELDS = (
    "table",
    "protocol",
    "settings",
    "engine",
    "dataset",
    "images",
    "miniature",
    "metric",
    "key",
    "flavour",
    "method",
    "label",
    "origin",
    "mean",
    "std",
    "n",
    "pretrainings",
    "trials",
    "weights",
    "delta",
    "baseline",
    "status",
    "source",
)


def csv_text(content: Content) -> str:
    """Means with all digits, published ones with their source's.

    ``origin``: ``measured`` or ``published``. ``n``: of mean and standard deviation, pretrainings where there are
    several, else trials. ``trials``: all of them. ``weights``: how many different ones.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    for table in content.tables:
        base = [row for row in table.rows if row.method == table.baseline]
        for i, column in enumerate(table.columns):
            protocol = column.protocol
            shared = {
                "table": table.key,
                "protocol": protocol.name,
                "settings": protocol.settings,
                "engine": protocol.engine,
                "dataset": protocol.dataset,
                "images": protocol.images,
                "miniature": protocol.miniature,
                "metric": column.label,
                "key": column.key,
                "flavour": column.flavour,
            }
            for row in table.rows:
                found = row.samples[i]
                if found:
                    against = base[0].samples[i] if len(base) == 1 and row is not base[0] else None
                    measured = {
                        "method": row.method,
                        "label": row.label,
                        "origin": "measured",
                        "mean": repr(found.mean),
                    }
                    measured |= {"std": "" if found.std is None else repr(found.std), "n": found.count}
                    measured |= {"pretrainings": len(found.groups), "trials": len(found.values)}
                    measured |= {"weights": len(row.weights), "source": " ".join(row.sources)}
                    if against:
                        measured |= {"delta": repr(found.mean - against.mean), "baseline": table.baseline}
                    writer.writerow(shared | measured)
            for line in table.published:
                if line.values[i] is not None:
                    writer.writerow(
                        shared
                        | {"method": line.entry.method, "label": line.label, "origin": "published"}
                        | {"mean": line.values[i], "std": line.spreads[i]}
                        | {"n": line.entry.trials, "trials": line.entry.trials}
                        | {"status": line.entry.status, "source": line.entry.source}
                    )
    return file.getvalue()
