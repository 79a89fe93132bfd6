"""Which pictures a report has, in their order."""

from collections.abc import Sequence

from ..gather import Gathered
from ..tables import Table
from .headlines import headline_plots
from .pretraining_curves import curve_plots
from .style import Plot
from .three_sizes import three_size_plots


def all_plots(tables: Sequence[Table], gathered: Gathered) -> list[Plot]:
    """What there is data for: of each section its plots in order, then those that belong to no table."""
    return [*headline_plots(tables), *three_size_plots(tables), *curve_plots(gathered)]
