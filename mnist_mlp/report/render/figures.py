"""Draws and saves the figures of a report, each with its words."""

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mnist_mlp.report.analysis.contrasts import CONFIDENCE
from mnist_mlp.report.analysis.roles import CELL, judged_split
from mnist_mlp.report.analysis.stats import Comparison
from mnist_mlp.report.analysis.verdicts import BETTER, WORSE, are
from mnist_mlp.report.render import panels, plots
from mnist_mlp.report.render.looks import looks
from mnist_mlp.report.render.scales import least_error, with_errors
from mnist_mlp.report.render.training import sentence, trained
from mnist_mlp.run.record import write_atomically

ANSWER = "differences"  # stands below the answer, as it is the answer in a picture
INTERACTIVE = ("learning_curves", "sensitivity")  # the page has these as charts
Parts = tuple[Figure, str, str, str]  # figure, name, text alternative, caption


@dataclass(frozen=True)
class Drawing:
    """A figure that has been written as `figures/<name>.png` and `.svg`, with its words."""

    name: str
    kind: str
    alt: str
    caption: str
    svg: str

    @property
    def is_chart(self) -> bool:
        """Whether the page shows it as an interactive chart instead."""
        return self.kind in INTERACTIVE

    @property
    def is_answer(self) -> bool:
        """Whether it stands directly below the answer."""
        return self.kind == ANSWER

    @property
    def data_uri(self) -> str:
        """The SVG as an address of its own, for a page that opens offline."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def draw(folder: Path, comparison: Comparison, suffix: str, formats: Sequence[str]) -> list[Drawing]:
    """Save every figure that the runs allow, named with this suffix, as PNG, SVG and these formats."""
    drawings, on_what = [], sentence(trained(comparison))
    # The same bytes for the same numbers; a letter that the font does not have becomes a box, not a warning each time.
    with mpl.rc_context({"svg.hashsalt": "mnist_mlp"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")
        for figure, kind, alt, caption in _figures(comparison):
            name = kind + suffix
            figure.savefig(folder / f"{name}.png", dpi=plots.DPI)
            figure.set_layout_engine("none")  # laid out once, as that takes half of the time, for every format
            for extra in formats:
                figure.savefig(folder / f"{name}.{extra}")
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            write_atomically(folder / f"{name}.svg", buffer.getvalue())
            drawings.append(Drawing(name, kind, alt, f"{caption} {on_what}", buffer.getvalue()))
    return drawings


def _figures(comparison: Comparison) -> Iterator[Parts]:
    if comparison.curves.empty:  # nothing was completed
        return
    summary = comparison.summary[comparison.summary["n"] > 0]
    look, least = looks(comparison.summary, comparison.by), least_error(comparison.runs)
    best, cells = summary.iloc[0], list(summary[CELL][: plots.MOST_CELLS])
    some = f" The {len(cells)} best of {len(summary)} cells." if len(cells) < len(summary) else ""
    seeds = summary["n"]
    n = f"n = {seeds.min()}" if seeds.nunique() == 1 else f"n = {seeds.min()} to {seeds.max()}"
    band = f"; band: {CONFIDENCE:.0%} t-interval of the mean" if seeds.max() > 1 else ""
    colour = f" Colour: {look.title}." if look.title else ""
    shown = summary[summary[CELL].isin(cells)]
    winner = f"the highest is {best[CELL]} at {best['score']:.2%}"

    curves = with_errors(comparison.curves[comparison.curves[CELL].isin(cells)], least)
    how = look.reading(cells, panels.MOST_PANELS) + some
    yield (
        panels.learning_curves(curves, look),
        "learning_curves",
        f"Error, and training loss, against the epoch for {len(cells)} cells.",
        f"Learning curves: error (100 % less the accuracy) and training loss on logarithmic axes, mean over seeds "
        f"({n}{band}). {how} Training curves are averages over an epoch's batches with dropout on.",
    )
    if len(comparison.by) > 1 and len(summary) <= 10 * plots.MOST_CELLS:
        yield (
            plots.heatmap(comparison.summary, comparison.by),
            "heatmap",
            f"Mean test accuracy by {' and '.join(comparison.by)}; {winner}.",
            f"Mean test accuracy after the last epoch ({n}), a diverged run as 0.",
        )
    rivals = comparison.pairs[(comparison.pairs["a"] == best[CELL]) & comparison.pairs["p"].notna()]
    if len(rivals):
        others = [cell for cell in cells if cell in set(rivals["b"])]
        figure, ax = plots.strips(len(others))
        plots.plot_differences(ax, rivals, best[CELL], others, look)
        told = are(rivals["verdict"], BETTER, WORSE).sum()
        yield (
            figure,
            ANSWER,
            f"Difference of each cell from {best[CELL]} with its interval; {told} of {len(rivals)} are told apart.",
            f"Difference from the best cell, {best[CELL]}, paired by seed, with simultaneous {CONFIDENCE:.0%} "
            f"intervals over all pairs of cells: one that crosses 0 is not told from the best.{colour}{some}",
        )
    figure, ax = plots.strips(len(cells))
    plots.plot_seeds(ax, comparison.scored, shown, look)
    yield (
        figure,
        "seeds",
        f"Final test accuracy of every seed, by cell; on average {winner}.",
        f"Test accuracy after the last epoch of every seed, 0 where it diverged; the bar is the mean.{colour}{some}",
    )
    if np.isfinite(comparison.scored["epochs_to_target"]).any():  # else there is nothing to see
        figure, ax = plots.strips(len(cells))
        plots.plot_time_to_target(ax, comparison.scored, shown, look)
        split = "validation" if judged_split(comparison.runs) == "val" else "test"
        target = f"{comparison.target * 100:g} %"
        yield (
            figure,
            "time_to_target",
            f"Epochs until each run reached {target} {split} accuracy, by cell.",
            f"Epochs until {split} accuracy reached {target}, for every seed; the bar is the median, a cross a run "
            f"that never got there.{colour}{some}",
        )
    if not comparison.sensitivity.empty:
        part = with_errors(comparison.sensitivity[comparison.sensitivity[CELL].isin(cells)], least)
        split = judged_split(comparison.runs)
        yield (
            panels.sensitivity(part, look, split),
            "sensitivity",
            f"Error against the learning rate for {len(cells)} cells.",
            f"Learning-rate sensitivity: {panels.SPELLED[split]} error (100 % less the accuracy) on a logarithmic "
            f"axis, mean over seeds{band}. A cross: runs diverged at this rate; they count as an error of 100 %, as in "
            f"the choice. {how}",
        )
