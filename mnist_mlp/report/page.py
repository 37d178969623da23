"""Writes a report directory: tables, figures, `index.html` and `report.md`."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from mnist_mlp.record import write_atomically
from mnist_mlp.report import plots
from mnist_mlp.report.load import Problem
from mnist_mlp.report.stats import CONFIDENCE, Comparison, as_typed

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Drawing:
    """A figure that has been written as `figures/<name>.png` and `.svg`, with its words."""

    name: str
    alt: str
    caption: str
    svg: str

    @property
    def data_uri(self) -> str:
        """The SVG as an address of its own, for a page that opens offline."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def write_report(
    directory: Path, comparisons: Mapping[str, Comparison], problems: Sequence[Problem], sources: Sequence[Path]
) -> None:
    """Write everything, replacing an older report.

    Args:
        directory: where; made where it does not exist.
        comparisons: data set to its tables.
        problems: what was left out.
        sources: the sweep directories, to be named.
    """
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    for stale in (directory / "figures").iterdir():
        stale.unlink()
    for table in ("summary", "runs"):
        parts = {data: getattr(comparison, table) for data, comparison in comparisons.items()}
        if len(parts) > 1:
            parts = {data: pd.concat({data: part}, names=["data"]).reset_index("data") for data, part in parts.items()}
        joined = pd.concat(parts.values())
        write_atomically(directory / f"{table}.csv", joined.to_csv(index=table == "runs", lineterminator="\n"))
    sections = [
        {
            "data": data,
            "comparison": comparison,
            "leaderboard": leaderboard(comparison),
            "drawings": _draw(directory / "figures", comparison, data if len(comparisons) > 1 else None),
        }
        for data, comparison in comparisons.items()
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("index.html", "report.md"):
        text = environment.get_template(f"{name}.jinja").render(sections=sections, problems=problems, sources=sources)
        write_atomically(directory / name, text)


def leaderboard(comparison: Comparison) -> pd.DataFrame:
    """The summary as text to be shown: best first, accuracies in per cent with their interval."""
    summary = comparison.summary
    table = summary[["init", "optim"]].astype(object)
    for key in comparison.tuned:
        table[key] = summary[key].map(as_typed)
    table.insert(0, "rank", range(1, len(table) + 1))
    half = (summary["test_accuracy_ci_high"] - summary["test_accuracy_mean"]) * 100
    accuracy = (summary["test_accuracy_mean"] * 100).map("{:.2f}".format)
    table["test accuracy (%)"] = accuracy.where(half.isna(), accuracy + " ± " + half.map("{:.2f}".format))
    table["test loss (nats)"] = summary["test_loss_mean"].map("{:.4f}".format)
    table["val accuracy (%)"] = (summary["val_accuracy_mean"] * 100).map("{:.2f}".format)
    table["n"] = summary["n"]
    table["diverged"], table["failed"] = summary["diverged"], summary["failed"]
    table["seconds"] = summary["seconds_mean"].map("{:.1f}".format)
    return table.astype(str).replace("nan", "")


def _draw(folder: Path, comparison: Comparison, data: str | None) -> list[Drawing]:
    if comparison.curves.empty:  # nothing was completed
        return []
    suffix, on_data = ("", "") if data is None else (f"_{re.sub('[^A-Za-z0-9]+', '_', data)}", f" on {data}")
    seeds = comparison.summary["n"]
    n = f"n = {seeds.min()}" if seeds.nunique() == 1 else f"n = {seeds.min()} to {seeds.max()}"
    band = f"; band: {CONFIDENCE:.0%} t-interval of the mean" if seeds.max() > 1 else ""
    best = comparison.summary.iloc[0]
    return [
        _save(
            plots.learning_curves(comparison.curves),
            folder,
            f"learning_curves{suffix}",
            alt=f"Loss and accuracy against epoch for {len(seeds)} cells of initialisation and optimizer{on_data}.",
            caption=f"Learning curves{on_data}: mean over seeds ({n}{band}). Colour: optimizer; line style: "
            "initialisation. Training curves are averages over an epoch's batches with dropout on.",
        ),
        _save(
            plots.heatmap(comparison.summary),
            folder,
            f"heatmap{suffix}",
            alt=f"Mean test accuracy by initialisation and optimizer{on_data}; the highest is {best['init']} with "
            f"{best['optim']} at {best['test_accuracy_mean']:.2%}.",
            caption=f"Mean test accuracy after the last epoch{on_data} ({n}).",
        ),
    ]


def _save(figure: Figure, folder: Path, name: str, alt: str, caption: str) -> Drawing:
    figure.savefig(folder / f"{name}.png", dpi=plots.DPI)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_atomically(folder / f"{name}.svg", buffer.getvalue())
    return Drawing(name, alt, caption, buffer.getvalue())
