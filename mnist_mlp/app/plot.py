"""Figures of the report in given axes, such as those of a notebook.

Each function takes the result of `mnist_mlp.load` or `mnist_mlp.sweep`, or a sweep directory, and the keywords of
`mnist_mlp.compare`: by, margin, target, where, at and metric. It draws into `ax`, or into new axes of pyplot, and
returns the axes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from mnist_mlp.analysis.roles import CELL, each_cell
from mnist_mlp.app.frames import Runs, section_of
from mnist_mlp.base.errors import UserError
from mnist_mlp.report.figures import plots
from mnist_mlp.report.figures.draw import View, view_of
from mnist_mlp.report.figures.scales import bounds_with_intervals, set_logarithmic
from mnist_mlp.report.figures.style import appearance
from mnist_mlp.report.text import captions, escape

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
    if measure not in MEASURES:
        raise UserError(f"measure={measure}: expected {' or '.join(MEASURES)}")
    view = _view(results, how)
    look, table = view.look, view.curves[view.curves["split"] == split]
    if table.empty:
        known = ", ".join(view.curves["split"].unique()) or "no split, since no run was completed"
        raise UserError(f"split={split}: expected a split with epochs: {known}")
    axes = plots.plot_learning_curves(_axes(ax), dict(each_cell(table)), view.cells, look, measure)
    scale = plots.SCALES[measure]
    set_logarithmic(axes, "y", bounds_with_intervals(table, measure), scale, TICKS)
    axes.set(xlabel="Epoch", ylabel=f"{captions.SPLIT_NAMES[split].capitalize()} {scale.title}")
    drawn = [cell for cell in view.cells if cell in set(table[CELL])]
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
    view = _view(results, how)
    unsteady = captions.unsteady(view.comparison)
    return plots.plot_differences(
        _axes(ax), view.comparison.rivals, view.best, view.cells, view.look, unsteady, unit=view.unit
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
    view = _view(results, how)
    table = view.comparison.pairs
    table = table[table["a"].isin(view.cells) & table["b"].isin(view.cells)]
    return plots.plot_pairs(_axes(ax), table, view.cells, view.unit)


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
    view = _view(results, how)
    epoch = captions.scored_epoch(view.comparison)
    return plots.plot_seeds(_axes(ax), view.comparison.scored, view.summary, view.look, epoch, view.unit)


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
    view = _view(results, how)
    return plots.plot_heatmap(_axes(ax), view.summary, view.comparison.by, unit=view.unit)


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
    view = _view(results, how)
    section = view.comparison
    if section.target is None:
        raise UserError("target=None: expected a fraction in (0, 1], such as 0.97, since these data have no default")
    target = f"{section.target * 100:g}% {captions.timed_split(section)} accuracy"
    return plots.plot_time_to_target(_axes(ax), section.scored, view.summary, view.look, target)


def _axes(ax: Axes | None) -> Axes:
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _view(results: Runs | str | Path, how: dict[str, Any]) -> View:
    """Return the input of the report's figures, with a style of its own for each cell, since all share one axes.

    Args:
        results: See the module.
        how: Keywords of `mnist_mlp.compare`.

    Raises:
        UserError: An argument is invalid, or no cell has a score.
    """
    section = section_of(results, **how)
    several = [key for key in section.by if section.summary[key].nunique(dropna=False) > 1]
    look = appearance(section.summary, several if len(several) == 1 else [CELL], one_panel=True)
    view = replace(view_of(section), look=look)
    if view.summary.empty:
        raise UserError("expected a cell with a result: all runs failed")
    return view
