"""Figures of a report: drawn and saved, with captions and text alternatives.

To add a figure, write a function of a `View` that returns the figure, its file name, a text alternative and the
caption's sentences, and list it in `figures`. Page, Markdown and files follow from that. Drawing into axes belongs to
`plots`, the layout of panels to `panels`.
"""

import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.curves import against, numeric_axis
from mnist_mlp.analysis.roles import CELL, cell_names, search_runs, with_noun
from mnist_mlp.analysis.selection import selection_split
from mnist_mlp.analysis.values import as_typed
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.record import COMPLETED, SPLITS, write_atomically
from mnist_mlp.report.figures import panels, plots, svg
from mnist_mlp.report.figures.scales import is_squeezed, least_error, with_errors
from mnist_mlp.report.figures.style import REFERENCE, Appearance, Style, appearance, in_figure_order
from mnist_mlp.report.text import budget, captions, escape
from mnist_mlp.report.text.training import sentence, trained
from mnist_mlp.report.text.units import Unit
from mnist_mlp.stats.moderated_t import CONFIDENCE
from mnist_mlp.stats.verdicts import SIGNIFICANT

OF_SEARCH = ("sensitivity", "budget")  # figures of the runs that configurations are selected by
ANSWER = "differences"  # the figure directly below the answer
CURVES = "learning_curves"
AGAINST = "against_"  # start of the names of figures against a numeric key
HEADINGS = {  # other figures are headed by their kind
    **{"budget": "Tuning curves", "sensitivity": "Learning-rate sensitivity", "pairs": "All pairs of cells"},
    **{"curves_from_best": "Difference from the best cell by epoch", "differences_grouped": "Differences side by side"},
}
MAX_PAIRED = 12  # cells in the figure of all pairs
Parts = tuple[Figure, str, str, str, Appearance]  # figure, name, text alternative, caption, appearance of its cells
_Made = tuple[Figure, str, str, *tuple[str, ...]]  # the caption as sentences, some of which are empty


@dataclass(frozen=True)
class Drawing:
    """A figure that has been written as `figures/<name>.png` and `.svg`.

    Attributes:
        name: File name without a suffix.
        kind: Name without the suffix of the section.
        alt: Text alternative.
        caption: Caption.
        title: Title of the legend.
        legend: Style of each label of the legend.
        lined: Whether labels stand for lines.
        marked: Whether labels stand for markers.
        views: Drawings for the page, by name. The reader can switch between them; a single drawing has an empty name.
    """

    name: str
    kind: str
    alt: str
    caption: str
    title: str
    legend: Mapping[str, Style]
    lined: bool
    marked: bool
    views: Mapping[str, Markup]

    @property
    def heading(self) -> str:
        """Heading of the figure on the page."""
        return heading(self.kind)

    @property
    def is_answer(self) -> bool:
        """True if the figure stands directly below the answer."""
        return self.kind == ANSWER


def heading(kind: str) -> str:
    """Return the heading of a kind of figures on the page."""
    if kind.startswith(AGAINST):
        return f"Error {kind.replace('_', ' ')}"
    return HEADINGS.get(kind, kind.replace("_", " ").capitalize())


def draw(
    folder: Path, comparison: Comparison, suffix: str, formats: Sequence[str], width: str | None = None
) -> list[Drawing]:
    """Save every figure that the runs allow as PNG, SVG and the given formats.

    Args:
        folder: Folder of the figures.
        comparison: Results to draw.
        suffix: End of each file name, which distinguishes sections.
        formats: Formats in addition to PNG and SVG.
        width: Width of the files: a key of `panels.PAPERS`; None for the natural width. It does not affect the page.
    """
    drawings = []
    on_what, on_search = (sentence(trained(comparison, search)) for search in (False, True))
    view = view_of(comparison)
    # A character that the font lacks becomes a box. A warning for each of them would help no reader.
    with mpl.rc_context(svg.SETTINGS | view.medium.settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")
        for figure, kind, alt, caption, look in figures(view):
            name = kind + suffix
            _lay_out(figure)
            root = svg.parse(figure, name)
            if not width:
                _save(figure, root, folder / name, formats, view.medium)
            views = _curve_views(view, name) if kind == CURVES else {"": svg.as_inline(root, figure, alt)}
            has_reference = bool(figure.findobj(lambda artist: artist.get_gid() == REFERENCE.group))
            legend = look.legend({line.cell for line in figure.findobj(svg.Series)}, has_reference)
            legend = dict(zip(escape.compact(list(legend)), legend.values(), strict=True))
            words = f"{caption} {on_search if kind in OF_SEARCH else on_what}"
            lined, marked = _signs(figure)
            drawings.append(Drawing(name, kind, alt, words, look.title, legend, lined, marked, views))
        if width:
            paper = replace(view, medium=panels.PAPERS[width])
            with mpl.rc_context(paper.medium.settings):
                for figure, kind, *_ in figures(paper):
                    _lay_out(figure)
                    name = kind + suffix
                    _save(figure, svg.parse(figure, name), folder / name, formats, paper.medium)
    return drawings


def _signs(figure: Figure) -> tuple[bool, bool]:
    """Return whether the labels of a figure's legend stand for lines, and whether for markers."""
    signs = [sign for legend in figure.legends for sign in legend.legend_handles if isinstance(sign, Line2D)]
    none = ("", "None", None)
    return any(sign.get_linestyle() not in none for sign in signs), any(sign.get_marker() not in none for sign in signs)


def _lay_out(figure: Figure) -> None:
    """Lay out a figure once for all formats, since layout takes half of the time; panels are laid out by hand."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _save(figure: Figure, root: ET.Element, path: Path, formats: Sequence[str], medium: panels.Medium) -> None:
    """Save a figure in all formats, the SVG from its parsed root. The path has no suffix."""
    write_atomically(path.with_name(f"{path.name}.svg"), svg.as_file(root))
    figure.savefig(f"{path}.png", dpi=medium.dpi)
    for extra in formats:
        figure.savefig(f"{path}.{extra}")


@dataclass(frozen=True)
class View:
    """Common input of the figures of one section.

    Attributes:
        comparison: Results of the section.
        look: Appearance of the cells.
        summary: One row per drawn cell, best first: at most `plots.MAX_CELLS` cells, all with a score.
        some: Sentence that says how many cells are drawn; empty if all are.
        medium: Space for each figure.
    """

    comparison: Comparison
    look: Appearance
    summary: pd.DataFrame
    some: str
    medium: panels.Medium = panels.PAGE

    @property
    def cells(self) -> list[str]:
        """Names of the drawn cells, the best first."""
        return list(self.summary[CELL])

    @property
    def curves(self) -> pd.DataFrame:
        """Learning curves of the drawn cells, with errors; epoch 0 only if there is a single later one."""
        curves = self.comparison.curves
        if curves["epoch"].max() > 1:  # the untrained networks of epoch 0, at chance, would squeeze all others
            curves = curves[curves["epoch"] > 0]
        return with_errors(curves[curves[CELL].isin(self.cells)], least_error(self.comparison.runs))

    @property
    def best(self) -> str:
        """Name of the best cell."""
        return self.cells[0]

    @property
    def unit(self) -> Unit:
        """Unit of the scores."""
        return Unit(self.comparison.metric)

    @property
    def winner(self) -> str:
        """Clause on the score of the best cell."""
        which = "lowest" if self.comparison.metric.is_less_better else "highest"
        score = self.unit.number(self.summary["score"].iloc[0])
        return f"the {which} is {self.best} at {score}{self.unit.percent}"


def view_of(comparison: Comparison) -> View:
    """Return the input of the figures of a section on the page."""
    scored = comparison.summary[comparison.summary["score"].notna()]
    shown = scored.head(plots.MAX_CELLS)
    look = appearance(comparison.summary, comparison.by, reference=next(iter(shown[CELL]), ""))
    return View(comparison, look, shown, captions.shares(shown[CELL], len(scored)))


def figures(view: View) -> Iterator[Parts]:
    """Yield every figure that the runs allow."""
    if not (view.comparison.runs["status"] == COMPLETED).any():
        return
    of_results = (
        *(_learning_curves, _curves_from_best, _heatmap, _differences, _differences_grouped, _pairs),
        *(_seeds, _time_to_target),
    )
    for make in (*(of_results if len(view.comparison.curves) else ()), _sensitivity, _budget):
        if (parts := make(view)) is not None:
            figure, name, alt, *sentences = parts
            yield figure, name, alt, " ".join(filter(None, sentences)), view.look
    if view.comparison.metric != ACCURACY:  # the other figures are about errors of the accuracy
        return
    scored = view.comparison.scored
    axes = {key: axis for key in view.comparison.by if (axis := numeric_axis(scored[key], key)) is not None}
    several = [key for key in view.comparison.by if scored[key].map(as_typed).nunique() > 1]
    if not axes and len(several) == 2:
        yield _interaction(view, several)
    for (key, axis), slug in zip(axes.items(), escape.slugs([str(axis.name) for axis in axes.values()]), strict=True):
        yield _against(view, key, axis, AGAINST + slug)


def _learning_curves(view: View) -> _Made:
    curves = view.curves
    drawn = view.summary[view.summary["n"] > 0]
    return (
        panels.learning_curves(curves, view.look, medium=view.medium),
        CURVES,
        f"Error, and training loss, against the epoch for {with_noun(len(drawn), 'cell')}.",
        f"Learning curves: error (100% minus accuracy) and loss on logarithmic axes, mean over "
        f"{captions.over(view.comparison.scored)} ({captions.sample(drawn['n'])}"
        f"{_band(curves, view.comparison.scored, view.look)}).",
        captions.undrawn(view.comparison, view.cells),
        view.look.reading(list(drawn[CELL]), panels.MAX_PANELS),
        view.some,
        "Training curves are averages over the batches of an epoch, with dropout active.",
    )


def _curves_from_best(view: View) -> _Made | None:
    table, best = view.comparison.curve_differences, view.best
    table = table[table[CELL].isin(view.cells) & (table["epoch"] > 0)]
    if table["epoch"].nunique() < 2 or view.comparison.metric != ACCURACY:
        return None
    band = (
        f"; band: {CONFIDENCE:.0%} t-interval of a single difference at a single epoch{_where_banded(table, view.look)}"
    )
    return (
        panels.curves_from_best(table, view.look, view.medium),
        "curves_from_best",
        f"Difference in test accuracy from {best} against the epoch for {with_noun(table[CELL].nunique(), 'cell')}.",
        f"Test accuracy minus that of the best cell, {best}, in percentage points, paired by seed, mean over "
        f"{captions.over(view.comparison.scored)}"
        f"{band if table['difference_ci_low'].notna().any() else ''}. Much larger differences, as after the first "
        "epochs, may lie outside the axis.",
        captions.undrawn(view.comparison, view.cells),
        view.look.reading(list(table[CELL].unique()), panels.MAX_PANELS),
        view.some,
    )


def _curve_views(view: View, name: str) -> dict[str, Markup]:
    """Return the learning curves of each split and measure."""
    curves, views = view.curves, {}
    splits = [split for split in reversed(SPLITS) if split in set(curves["split"])]
    for measure, split in product(("error", "loss"), splits):
        figure = panels.learning_curves(curves, view.look, [(split, measure)])
        title = f"{captions.SPLIT_NAMES[split]} {measure}"
        alt = f"{title.capitalize()} against the epoch for {with_noun(curves[CELL].nunique(), 'cell')}."
        views[title] = svg.as_inline(svg.parse(figure, f"{name}-{split}-{measure}"), figure, alt)
    return views


def _band(table: pd.DataFrame, runs: pd.DataFrame, look: Appearance) -> str:
    """Return the meaning of the bands, to follow in parentheses; empty without bands."""
    words = f"; band: {CONFIDENCE:.0%} t-interval of the mean{captions.by(runs)}, clipped where it is very wide"
    return f"{words}{_where_banded(table, look)}" if captions.has_band(table) else ""


def _where_banded(table: pd.DataFrame, look: Appearance) -> str:
    """Say that crowded panels have no bands; empty if no panel is crowded."""
    most = max(map(len, look.panels(set(table[CELL])).values()), default=0)
    return f", only in panels with at most {plots.MAX_BANDS} lines" if most > plots.MAX_BANDS else ""


def _heatmap(view: View) -> _Made | None:
    comparison = view.comparison
    if len(comparison.by) < 2 or len(comparison.summary) > 10 * plots.MAX_CELLS:
        return None
    n = comparison.scored.groupby(CELL).size()
    unsteady = captions.unsteady(comparison)  # their intervals reach to 0%
    rivals = comparison.rivals[~comparison.rivals[["a", "b"]].isin(unsteady).any(axis=1)]
    widths = view.unit.factor * (rivals["ci_high"] - rivals["ci_low"])
    span = float(widths.median()) if widths.notna().any() else 0.0
    figure = panels.heatmap(comparison.summary, comparison.by, span, view.medium, view.unit)
    (image,) = figure.axes[0].images
    scores, (low, high) = comparison.summary["score"] * view.unit.factor, image.get_clim()
    is_pulled = (scores > high if comparison.metric.is_less_better else scores < low).any()
    return (
        figure,
        "heatmap",
        f"Mean {view.unit.name} by {' and '.join(comparison.by)}; {view.winner}.",
        f"Mean {view.unit.name} {captions.scored_epoch(comparison)} ({captions.sample(n)}); diverged runs count as "
        f"{view.unit.worst}.",
        "The colors span at least the usual width of an interval of differences from the best cell: otherwise, "
        "differences within the noise would look large."
        if span
        else "",
        f"Gray: {'above' if comparison.metric.is_less_better else 'below'} the color scale, because runs diverged."
        if is_pulled
        else "",
    )


def _differences(view: View) -> _Made | None:
    rivals, best = view.comparison.rivals, view.best
    tested = rivals[rivals["p"].notna()]
    if tested.empty:
        return None
    figure, ax = panels.strips(view.cells, view.look, view.cells, view.medium)
    plots.plot_differences(ax, rivals, best, view.cells, view.look, captions.unsteady(view.comparison), unit=view.unit)
    significant = tested["verdict"].isin(SIGNIFICANT).sum()
    be = "is" if significant == 1 else "are"
    rest = f", {len(rivals) - len(tested)} more not tested" if len(tested) < len(rivals) else ""
    return (
        figure,
        ANSWER,
        f"Difference of each cell from {best} with its interval; "
        f"{significant} of {len(tested)} {be} significant{rest}.",
        f"Difference from the best cell, {best} (the star), paired by seed, with simultaneous {CONFIDENCE:.0%} "
        f"intervals over all pairs of cells. A difference whose interval contains 0 is not significant.",
        captions.without_interval(view.comparison),
        _squeezed(ax, view),
        view.some,
    )


def _differences_grouped(view: View) -> _Made | None:
    rivals, of_panel = view.comparison.rivals, view.look.panels(view.cells)
    labels = len(view.look.legend(view.cells))
    if rivals["p"].isna().all() or len(of_panel) < 2 or labels < 2:
        return None
    figure, ax = panels.strips(list(of_panel), view.look, view.cells, view.medium, in_a_row=labels)
    unsteady = captions.unsteady(view.comparison)
    plots.plot_differences(ax, rivals, view.best, view.cells, view.look, unsteady, grouped=True, unit=view.unit)
    return (
        figure,
        "differences_grouped",
        f"Difference of each cell from {view.best} with its interval, by {view.look.panel_title}.",
        f"The same differences from the best cell, {view.best} (the star), with a row for each "
        f"{view.look.panel_title}. Two intervals that overlap may still belong to cells that differ significantly: "
        "each is a comparison with the best cell only.",
        _squeezed(ax, view),
        view.some,
    )


def _pairs(view: View) -> _Made | None:
    comparison = view.comparison
    if not 3 <= len(view.cells) <= MAX_PAIRED or view.some or comparison.pairs["p"].isna().all():
        return None
    significant = comparison.pairs["verdict"].isin(SIGNIFICANT).sum()
    return (
        panels.pairs(comparison.pairs, view.cells, view.medium, view.unit),
        "pairs",
        f"Differences between all pairs of cells; {significant} of {len(comparison.pairs)} are significant.",
        f"{view.unit.title} of the cell in the row minus that of the cell with the column's number"
        f"{', in percentage points' if view.unit.percent else ''}. "
        f"The background is the verdict, at an error rate of {1 - CONFIDENCE:.0%} over all pairs.",
    )


def _squeezed(ax: Axes, view: View) -> str:
    text = f"Gray parts of the axis are compressed, because diverged runs count as {view.unit.worst}."
    return text if is_squeezed(ax) else ""


def _seeds(view: View) -> _Made:
    figure, ax = panels.strips(view.cells, view.look, view.cells, view.medium)
    epoch = captions.scored_epoch(view.comparison)
    plots.plot_seeds(ax, view.comparison.scored, view.summary, view.look, epoch, view.unit)
    return (
        figure,
        "seeds",
        f"{view.unit.title} of every seed, by cell; on average {view.winner}.",
        f"{view.unit.title} {epoch} for every seed, {view.unit.worst} if the run diverged; the bar is the mean.",
        _squeezed(ax, view),
        view.some,
    )


def _time_to_target(view: View) -> _Made | None:
    scored = view.comparison.scored
    if view.comparison.target is None or not np.isfinite(scored["epochs_to_target"]).any():  # no run reached the target
        return None
    figure, ax = panels.strips(view.cells, view.look, view.cells, view.medium)
    split = captions.timed_split(view.comparison)
    target = f"{view.comparison.target * 100:g}%"
    plots.plot_time_to_target(ax, scored, view.summary, view.look, f"{target} {split} accuracy")
    return (
        figure,
        "time_to_target",
        f"Epochs until each run reached {target} {split} accuracy, by cell.",
        f"Epochs until {split} accuracy reached {target}, for every seed; the bar is the median, a cross is a run "
        f"that never reached it.",
        view.some,
    )


def _sensitivity(view: View) -> _Made | None:
    comparison = view.comparison
    if comparison.sensitivity.empty:
        return None
    part = comparison.sensitivity[comparison.sensitivity[CELL].isin(view.cells)]
    runs = search_runs(comparison.runs)
    split = selection_split(runs)
    errors, of = with_errors(part, least_error(comparison.runs)), f"{captions.SPLIT_NAMES[split]} "
    return (
        panels.against(errors, view.look, "lr", of, view.medium),
        "sensitivity",
        f"Error against the learning rate for {with_noun(len(view.cells), 'cell')}.",
        f"Learning-rate sensitivity: {of}error (100% minus accuracy) on a logarithmic "
        f"axis, mean over {captions.over(runs)}{_band(part, runs, view.look)}. A cross marks a rate at which runs "
        "diverged; they count as an error of 100%, as in the selection.",
        view.look.reading(view.cells, panels.MAX_PANELS),
        view.some,
    )


def _against(view: View, key: str, axis: pd.Series, kind: str) -> Parts:
    """Return the figure of the scores against a numeric compared key, with the combinations of the others as cells."""
    runs, look = _without(view, key)
    name, table = str(axis.name), against(runs, axis)
    table.loc[table["diverged"] > 0, ["accuracy_ci_low", "accuracy_ci_high"]] = np.nan  # a band would hide the rest
    figure = panels.against(with_errors(table, least_error(view.comparison.runs)), look, name, "test ", view.medium)
    sentences = (
        f"Test error (100% minus accuracy) on a logarithmic axis against {name}, mean over "
        f"{captions.over(runs)} ({captions.sample(table['n'])}{_band(table, runs, look)}).",
        *_marks(table, "; there is no band there"),
        look.reading(list(look.panel), panels.MAX_PANELS),
    )
    alt = f"Test error against {name} for {with_noun(len(look.panel), 'line')}."
    return figure, kind, alt, " ".join(filter(None, sentences)), look


def _interaction(view: View, keys: Sequence[str]) -> Parts:
    """Return the figure of the scores against one of two compared keys, with a line for each value of the other."""
    scored = view.comparison.scored
    values = {key: in_figure_order(list(scored[key].map(as_typed).unique())) for key in keys}
    across = max(reversed(keys), key=lambda key: len(values[key]))
    runs, look = _without(view, across, one_panel=True)
    table = against(runs, runs[across].map(as_typed).map(values[across].index).rename("place").astype(float))
    table["label"] = [values[across][int(place)] for place in table["place"]]
    errors = with_errors(table, least_error(view.comparison.runs))
    figure = panels.interaction(errors, look, values[across], across, view.medium)
    whiskers = f"; whiskers: {CONFIDENCE:.0%} t-interval of the mean{captions.by(runs)}"
    sentences = (
        f"Test error (100% minus accuracy), mean over {captions.over(runs)} "
        f"({captions.sample(table['n'])}{whiskers if captions.has_band(table) else ''}).",
        *_marks(table, "; it is left out of its line"),
        f"A line for each {look.title}. Lines that are not parallel suggest an interaction, which the effects test.",
    )
    alt = f"Test error against {across} for each {look.title}."
    return figure, "interaction", alt, " ".join(filter(None, sentences)), look


def _without(view: View, key: str, one_panel: bool = False) -> tuple[pd.DataFrame, Appearance]:
    """Return the scored runs with the combinations of the other compared keys as cells, and these cells' appearance."""
    scored = view.comparison.scored
    others = [other for other in view.comparison.by if other != key]
    runs = scored.assign(**{CELL: cell_names(scored, others) if others else "all"})
    rows = runs.groupby(CELL)["score"].mean().sort_values(ascending=False, kind="stable")
    table = runs.drop_duplicates(CELL).set_index(CELL).loc[rows.index].reset_index()
    return runs, appearance(table, others, one_panel=one_panel)


def _marks(table: pd.DataFrame, at_cross: str) -> Iterator[str]:
    """Yield the meaning of each special marker of a figure."""
    if table["diverged"].any():
        yield f"A cross: some runs diverged, and count as an error of 100%{at_cross}."
    if table["at_chance"].any():
        yield "A hollow marker: some runs are not shown to beat chance."


def _budget(view: View) -> _Made | None:
    table = budget.as_accuracies(view.comparison)
    table = table[table[CELL].isin(view.cells)]
    if table.empty:
        return None
    return (
        panels.budget(with_errors(table, least_error(view.comparison.runs)), view.look, view.medium),
        "budget",
        "Expected test error against the number of configurations tried, for "
        f"{with_noun(table[CELL].nunique(), 'cell')}.",
        f"Tuning curves: {budget.reading(view.comparison)}",
        view.look.reading(list(table[CELL].unique()), panels.MAX_PANELS),
        view.some,
    )
