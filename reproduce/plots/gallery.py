"""Which pictures a report has, in their order."""

from collections.abc import Sequence
from pathlib import Path

from ..gather import Gathered
from ..saved_detections import SavedDetections
from ..table import Table
from .categories import category_plots
from .detection_sheet import detection_plot
from .fine_sizes import fine_size_plots
from .four_precisions import four_precision_plots
from .headlines import headline_plots
from .layers import layer_plots
from .low_shot import low_shot_plots
from .pretraining_curves import curve_plots
from .style import Plot
from .three_sizes import three_size_plots


def all_plots(tables: Sequence[Table], gathered: Gathered, world: Path | None = None) -> list[Plot]:
    """What there is data for: of each section its plots in order, then those that belong to no table.

    Args:
        gathered: its ``left_out`` takes what is left out for lack of detections or annotations.
        world: folder of the data sets, where that of a result is gone.
    """
    saved = SavedDetections(gathered, world)
    low_shot, layers = low_shot_plots(tables, gathered), layer_plots(tables, gathered)
    # One k alone, the first column of a low-shot table, is no headline; a layer is in the picture of all layers.
    in_curves = {plot.section for plot in low_shot} | {t.key for t in tables if gathered.are_of_one_layer(t.sources)}
    headlined = [table for table in tables if table.key not in in_curves]
    sheet = detection_plot(gathered, saved)
    return [
        *low_shot,
        *headline_plots(headlined),
        *fine_size_plots(tables, gathered, saved),
        *category_plots(tables, gathered),
        *three_size_plots(tables),
        *layers,
        *four_precision_plots(headlined),
        *curve_plots(gathered),
        *([sheet] if sheet else []),
    ]
