"""Figures of the report in given axes, such as those of a notebook.

Each function takes the result of `mnist_mlp.load` or `mnist_mlp.sweep`, or a sweep directory, and the keywords of
`mnist_mlp.compare`: by, margin, target, where, at and metric. It draws into `ax`, or into new axes of pyplot, and
returns the axes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from mnist_mlp.analysis.roles import CELL, each_cell
from mnist_mlp.app.frames import Runs, section_of
from mnist_mlp.base.errors import UserError
from mnist_mlp.report.figures import plots
from mnist_mlp.report.figures.scales import (
    bounds_with_intervals,
    least_error,
    set_logarithmic,
    with_errors,
)
from mnist_mlp.report.figures.style import Appearance, appearance
from mnist_mlp.report.text import captions, escape
from mnist_mlp.report.text.units import Unit

if TYPE_CHECKING:
    import pandas as pd

    from mnist_mlp.analysis.comparison import Comparison as Section

__all__ = ["curves", "differences", "heatmap", "pairs", "seeds", "time_to_target"]

MEASURES = ("error", "loss")
TICKS = 6  # maximum number on a logarithmic axis


def curves(
    results: Runs | str | Path, measure: str = "error", split: str = "test", ax: Axes | None = None, **how: Any
) -> Axes:
    """Draw learning curves: the mean error (100% minus accuracy) or loss of each cell against the epoch.

    Args:
        results: See the module.
        measure: error or loss.
        split: train, val or test.
        ax: Axes to draw into; None for new ones.
        **how: Keywords of `mnist_mlp.compare`.

    Raises:
        UserError: An argument is invalid, or no run was completed.

    Example:
        >>> from mnist_mlp import plot
        >>> plot.curves("multirun/small", measure="loss").get_ylabel()
        'Test loss (nats)'
    """
    section = section_of(results, **how)
    table = section.curves[(section.curves["split"] == split) & (section.curves["epoch"] > 0)]
    if measure not in MEASURES:
        raise UserError(f"measure={measure}: expected {' or '.join(MEASURES)}")
    if table.empty:
        known = ", ".join(section.curves["split"].unique()) or "no split, since no run was completed"
        raise UserError(f"split={split}: expected a split with epochs: {known}")
    table, cells = with_errors(table, least_error(section.runs)), _cells(section)
    look = _look(section)
    axes = plots.plot_learning_curves(_axes(ax), dict(each_cell(table)), cells, look, measure)
    scale = plots.SCALES[measure]
    set_logarithmic(axes, "y", bounds_with_intervals(table, measure), scale, TICKS)
    axes.set(xlabel="Epoch", ylabel=f"{captions.SPLIT_NAMES[split].capitalize()} {scale.title}")
    drawn = [cell for cell in cells if cell in set(table[CELL])]
    for label, cell in zip(escape.labels([look.label[cell] for cell in drawn]), drawn, strict=True):
        style = look.style[cell]
        axes.plot([], [], color=style.color, linestyle=style.dash, label=label)
    axes.legend(frameon=False)
    return axes


def differences(results: Runs | str | Path, ax: Axes | None = None, **how: Any) -> Axes:
    """Draw the difference of each cell from the best one, with its simultaneous interval.

    Args:
        results: See the module.
        ax: Axes to draw into; None for new ones.
        **how: Keywords of `mnist_mlp.compare`.

    Example:
        >>> from mnist_mlp import plot
        >>> plot.differences("multirun/small").get_xlabel()
        'Test accuracy minus that of the best cell (percentage points)'
    """
    section = section_of(results, **how)
    cells, unsteady = _cells(section), captions.unsteady(section)
    return plots.plot_differences(
        _axes(ax), section.rivals, cells[0], cells, _look(section), unsteady, unit=Unit(section.metric)
    )


def pairs(results: Runs | str | Path, ax: Axes | None = None, **how: Any) -> Axes:
    """Draw a table of the differences of all pairs of cells; the background shows the verdict.

    Args:
        results: See the module.
        ax: Axes to draw into; None for new ones.
        **how: Keywords of `mnist_mlp.compare`.

    Example:
        >>> from mnist_mlp import plot
        >>> plot.pairs("multirun/small").get_xlabel()
        'Row minus column (percentage points)'
    """
    section = section_of(results, **how)
    shown = set(cells := _cells(section))
    table = section.pairs[section.pairs["a"].isin(shown) & section.pairs["b"].isin(shown)]
    return plots.plot_pairs(_axes(ax), table, cells, Unit(section.metric))


def seeds(results: Runs | str | Path, ax: Axes | None = None, **how: Any) -> Axes:
    """Draw the score of each seed, and a bar at the mean of each cell.

    Args:
        results: See the module.
        ax: Axes to draw into; None for new ones.
        **how: Keywords of `mnist_mlp.compare`.

    Example:
        >>> from mnist_mlp import plot
        >>> plot.seeds("multirun/small").get_xlabel()
        'Test accuracy after the last epoch (%)'
    """
    section = section_of(results, **how)
    table, epoch = _summary(section), captions.scored_epoch(section)
    return plots.plot_seeds(_axes(ax), section.scored, table, _look(section), epoch, Unit(section.metric))


def heatmap(results: Runs | str | Path, ax: Axes | None = None, **how: Any) -> Axes:
    """Draw the mean score over the compared keys, the first key in rows and the others in columns.

    Args:
        results: See the module.
        ax: Axes to draw into; None for new ones.
        **how: Keywords of `mnist_mlp.compare`.

    Example:
        >>> from mnist_mlp import plot
        >>> [label.get_text() for label in plot.heatmap("multirun/small").get_xticklabels()]
        ['sgd', 'adam']
    """
    section = section_of(results, **how)
    return plots.plot_heatmap(_axes(ax), _summary(section), section.by, unit=Unit(section.metric))


def time_to_target(results: Runs | str | Path, ax: Axes | None = None, **how: Any) -> Axes:
    """Draw the epoch at which each run reached the target accuracy, and a bar at the median of each cell.

    Args:
        results: See the module.
        ax: Axes to draw into; None for new ones.
        **how: Keywords of `mnist_mlp.compare`; `target` is the accuracy.

    Raises:
        UserError: No target is set.

    Example:
        >>> from mnist_mlp import plot
        >>> plot.time_to_target("multirun/small", target=0.5).get_xlabel()
        'Epochs to 50% validation accuracy'
    """
    section = section_of(results, **how)
    if section.target is None:
        raise UserError("target=None: expected a fraction in (0, 1], such as 0.97, since these data have no default")
    target = f"{section.target * 100:g}% {captions.timed_split(section)} accuracy"
    return plots.plot_time_to_target(_axes(ax), section.scored, _summary(section), _look(section), target)


def _axes(ax: Axes | None) -> Axes:
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _summary(section: "Section") -> "pd.DataFrame":
    """Return the cells with a score, the best first.

    Raises:
        UserError: No cell has a score.
    """
    table = section.summary[section.summary["score"].notna()].head(plots.MAX_CELLS)
    if table.empty:
        raise UserError("expected a cell with a result: all runs failed")
    return table


def _cells(section: "Section") -> list[str]:
    return list(_summary(section)[CELL])


def _look(section: "Section") -> Appearance:
    """Return an appearance with a style of its own for each cell, since all cells share one axes."""
    several = [key for key in section.by if section.summary[key].nunique(dropna=False) > 1]
    return appearance(section.summary, several if len(several) == 1 else [CELL], one_panel=True)
