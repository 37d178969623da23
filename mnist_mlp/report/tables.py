"""Tables of a report: CSV files, formatted text and LaTeX."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.notes import list_names
from mnist_mlp.analysis.outcomes import BEST_EPOCH, TARGETS
from mnist_mlp.analysis.roles import CELL, REPLICATE, SEED
from mnist_mlp.analysis.values import as_typed, natural_rank
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.record import DIVERGED
from mnist_mlp.report.text import escape, table_notes, verdicts
from mnist_mlp.report.text.numbers import p_value
from mnist_mlp.report.text.training import sentence, trained
from mnist_mlp.report.text.units import OF_ACCURACY, Unit
from mnist_mlp.stats.pairs import MAX_CELLS
from mnist_mlp.stats.verdicts import Verdict

MAX_PAIRS = 300  # shown on a page
MAX_ROWS = 40  # of a LaTeX table, which has to fit on a page
LARGE_LOSS = 1e4  # nats; larger losses are shown with three significant digits
NOT_SIGNIFICANT = "n.s."  # the usual abbreviation in papers


def summary_csv(comparison: Comparison) -> pd.DataFrame:
    """Return one row per cell. Keys that are tuned only in other sections of the report have columns, too."""
    summary, scored = comparison.summary, comparison.runs[comparison.runs["chosen"]]
    others = [key for key in _tuned_keys(comparison) if key not in summary]
    return summary.join(scored.drop_duplicates(CELL).set_index(CELL)[others], on=CELL).drop(columns=CELL)


def runs_csv(comparison: Comparison) -> pd.DataFrame:
    """Return one row per run: varying keys, seed, status, final and best metrics, seconds."""
    metrics = [f"{split}_{measure}" for split in ("test", "val", "train") for measure in ("accuracy", "loss")]
    metrics += [f"{split}_{name}" for name in comparison.additional for split in ("test", "val")]
    columns = ["status", "reason", "chosen", "at_chance", *metrics, *BEST_EPOCH, *TARGETS, "seconds", "config_hash"]
    phase = ["phase"] if comparison.confirmed else []
    return _sorted_runs(comparison)[
        list(dict.fromkeys([*_keys(comparison), *_tuned_keys(comparison), *phase, *columns]))
    ]


def _tuned_keys(comparison: Comparison) -> list[str]:
    return [key for key in comparison.tuned_anywhere if key in comparison.runs]


def _keys(comparison: Comparison) -> list[str]:
    """Return the keys in which runs can differ: compared, tuned, other varying keys, evaluation conditions, seed."""
    return list(dict.fromkeys([*comparison.by, *comparison.tuned, *comparison.varying, *comparison.measured, SEED]))


def _sorted_runs(comparison: Comparison) -> pd.DataFrame:
    return comparison.runs.sort_values([*comparison.by, *comparison.tuned, REPLICATE], key=natural_rank)


def pairs_csv(comparison: Comparison) -> pd.DataFrame:
    """Return one row per pair of cells, with the compared keys of both; with many cells, only pairs with the best."""
    keys = comparison.summary.set_index(CELL)[list(comparison.by)]
    table = comparison.pairs if len(keys) <= MAX_CELLS else comparison.rivals
    sides = [keys.loc[table[side]].add_suffix(f"_{side}").reset_index(drop=True) for side in "ab"]
    return pd.concat([*sides, table.drop(columns=["a", "b"]).reset_index(drop=True)], axis=1)


def effects_csv(comparison: Comparison) -> pd.DataFrame:
    """Return one row per main effect and interaction of two compared keys (see `factorial_effects`)."""
    return comparison.effects.table


def effect_differences_csv(comparison: Comparison) -> pd.DataFrame:
    """Return one row per difference behind the effects (see `factorial_effects`)."""
    return comparison.effects.differences


def budget_csv(comparison: Comparison) -> pd.DataFrame:
    """Return one row per cell and number of configurations tried, with the compared keys (see `budget.curves`)."""
    keys = comparison.summary.set_index(CELL)[list(comparison.by)]
    table = comparison.budget
    return pd.concat([keys.loc[table[CELL]].reset_index(drop=True), table.drop(columns=CELL)], axis=1)


CSV: dict[str, Callable[[Comparison], pd.DataFrame]] = {
    "summary": summary_csv,
    "runs": runs_csv,
    "pairs": pairs_csv,
    "effects": effects_csv,
    "effect_differences": effect_differences_csv,
    "budget": budget_csv,
}


def _shown(values: pd.Series, form: str, scale: float = 1) -> pd.Series:
    """Format numbers; NaN becomes an empty string."""
    return values.map(lambda value: "" if pd.isna(value) else form.format(value * scale))


def _probability(p: float) -> str:
    return "" if np.isnan(p) else p_value(p)


def leaderboard(comparison: Comparison) -> pd.DataFrame:
    """Format the summary, best cell first, with means in percent (or plain numbers) and their intervals."""
    summary, unit = comparison.summary, Unit(comparison.metric)
    table = pd.DataFrame({key: summary[key].map(as_typed) for key in [*comparison.by, *comparison.tuned]}).astype(
        object
    )
    for key in comparison.tuned:
        table[key] = [_selected(comparison, cell, key) for cell in summary[CELL]]
    table.insert(0, "rank", range(1, len(table) + 1))
    means = [summary[f"test_{comparison.metric.name}_{part}"] for part in ("mean", "ci_low", "ci_high")]
    if (comparison.scored["status"] == DIVERGED).any():  # otherwise the score equals the mean accuracy
        table[unit.with_unit("score", "%")] = summary["score"].map(unit.number)
    table[unit.column] = list(map(unit.interval, *means))
    table["against the best"] = _against_the_best(comparison)
    if (summary["letters"] != "").any():
        table["letters"] = summary["letters"]
    if comparison.metric != ACCURACY:
        table["test accuracy (%)"] = _shown(summary["test_accuracy_mean"], "{:.2f}", 100)
    table["test loss (nats)"] = summary["test_loss_mean"].map(_loss)
    table["val accuracy (%)"] = _shown(summary["val_accuracy_mean"], "{:.2f}", 100)
    if comparison.target is not None:
        table["epochs to target"] = summary["epochs_to_target"].map(_reached)
    table["n"] = summary["n"]
    table["diverged (all runs)" if comparison.tuned else "diverged"] = summary["diverged"]
    table["failed"] = summary["failed"]
    table["seconds"] = summary["seconds_mean"].map(_seconds)
    return table.astype(str)


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _selected(comparison: Comparison, cell: str, key: str) -> str:
    """Return the values of a key that a cell selected, with the number of seeds of each if there are several."""
    if cell not in comparison.cells_that_selected(key):
        return ""
    counts: Counter[str] = Counter()
    for selected in comparison.selected.get(cell, ()):
        counts[as_typed(selected.configuration[key])] += selected.count
    if len(counts) == 1:
        return next(iter(counts))
    return list_names([f"{value} ({count})" for value, count in counts.items()])


def _loss(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}" if value < LARGE_LOSS else f"{value:.3g}"


def _reached(value: float) -> str:
    return "missed" if np.isinf(value) else "" if np.isnan(value) else f"{value:g}"


def _against_the_best(comparison: Comparison) -> pd.Series:
    """Return the verdict on each cell against the best cell; empty for the best cell itself."""
    rivals = comparison.rivals
    of_cell = {
        cell: str(Verdict(verdict).reversed()) for cell, verdict in zip(rivals["b"], rivals["verdict"], strict=True)
    }
    return comparison.summary[CELL].map(lambda cell: of_cell.get(cell, ""))


def pairs(comparison: Comparison) -> pd.DataFrame:
    """Format the pairs of cells: all of them, or only those with the best cell if there are too many."""
    table = comparison.pairs
    if table.empty:
        return table
    if len(table) > MAX_PAIRS:
        table = comparison.rivals
    unit = Unit(comparison.metric)
    return pd.DataFrame(
        {
            "cell": table["a"],
            "against": table["b"],
            "n": table["n"].astype(str),
            unit.with_unit("difference"): table["difference"].map(unit.signed),
            "95% interval": _intervals(table, unit),
            "corrected p": table["p_corrected"].map(_probability),
            "verdict": verdicts.full_verdicts(comparison, table),
        }
    )


def effects(comparison: Comparison) -> pd.DataFrame:
    """Format the main effects and interactions."""
    table = comparison.effects.table
    if table.empty:
        return table
    unit = Unit(comparison.metric)
    return pd.DataFrame(
        {
            "effect": table["effect"],
            unit.with_unit("range"): table["range"].map(unit.number),
            "share of variance": _shown(table["share"], "{:.1%}"),
            "most significant difference": table["most_significant"],
            unit.with_unit("difference"): table["difference"].map(unit.signed),
            "95% interval": _intervals(table, unit),
            "corrected p": table["p"].map(_probability),
            unit.with_unit("at most"): table["largest"].map(unit.number),
            "n": table["n"].astype(str),
        }
    )


def effect_differences(comparison: Comparison) -> pd.DataFrame:
    """Format the differences behind the effects, at most `MAX_PAIRS`: those with the smallest p-values."""
    table = comparison.effects.differences
    if table.empty:
        return table
    if len(table) > MAX_PAIRS:
        order = table.assign(size=table["mean"].abs()).sort_values(["p_corrected", "size"], ascending=[True, False])
        table = table.loc[order.index[:MAX_PAIRS].sort_values()]
    unit = Unit(comparison.metric)
    return pd.DataFrame(
        {
            "effect": table["effect"],
            "difference": table["difference"],
            "difference (points)" if unit.percent else "mean": table["mean"].map(unit.signed),
            "95% interval": _intervals(table, unit),
            "corrected p": table["p_corrected"].map(_probability),
        }
    )


def effect_means(comparison: Comparison) -> pd.DataFrame:
    """Format the means behind the effects."""
    table, unit = comparison.effects.means, Unit(comparison.metric)
    return table.assign(mean=table["mean"].map(unit.number)).rename(columns={"mean": unit.column})


def _intervals(table: pd.DataFrame, unit: Unit) -> list[str]:
    """Format intervals of differences; NaN becomes an empty string."""
    return list(map(unit.signed_interval, table["ci_low"], table["ci_high"]))


def runs(comparison: Comparison) -> pd.DataFrame:
    """Format all runs, indexed by directory."""
    table = _sorted_runs(comparison)
    keys = [key for key in _keys(comparison) if key in comparison.by or not key.startswith(("optim._", "init._"))]
    keys += ["phase"] if comparison.confirmed else []
    shown = pd.DataFrame({key: table[key].map(as_typed) for key in keys}, index=table.index)
    shown["status"] = table["status"]
    for unit in dict.fromkeys((Unit(comparison.metric), OF_ACCURACY)):
        for split in ("test", "val"):
            title = unit.column.replace("test", split, 1)
            shown[title] = table[f"{split}_{unit.metric.name}"].map(unit.number)
    shown["seconds"] = _shown(table["seconds"], "{:.1f}")
    return shown


def latex(comparison: Comparison, data: str, label: str, most: int = MAX_ROWS) -> str:
    """Return the leaderboard as a LaTeX table for a paper, scaled to fit the column or page.

    The table has the compared and tuned keys, accuracies, the verdict against the best cell, and the numbers of
    completed and diverged runs. `summary.csv` has the rest.
    """
    unit = Unit(comparison.metric)
    board = leaderboard(comparison).rename(columns={"diverged (all runs)": "diverged"})
    kept = [
        *comparison.by,
        *comparison.tuned,
        unit.with_unit("score", "%"),
        unit.column,
        "against the best",
        "letters",
        "n",
        "diverged",
    ]
    board = board[[column for column in board.columns if column in kept]].head(most)
    board = board.assign(
        **{"against the best": board["against the best"].replace(str(Verdict.INCONCLUSIVE), NOT_SIGNIFICANT)}
    )
    board = board.rename(columns={"against the best": "vs. best"})
    rows = board.map(escape.latex).rename(columns=escape.latex).to_latex(index=False)
    some = f"The {len(board)} best of {len(comparison.summary)}. " if len(board) < len(comparison.summary) else ""
    has_score = unit.with_unit("score", "%") in board
    score = f"The score counts diverged runs as {escape.latex(unit.worst)}. " if has_score else ""
    settings = "Diverged runs are counted over all configurations. " if comparison.tuned else ""
    over = "mean and [95\\% interval] over n seeds"
    if not comparison.independent:
        over = "mean over n runs, and the [95\\% interval] over the independent ones"
    note = table_notes.letters(comparison)
    letters = f"Letters: {escape.latex(note)} " if note else ""
    return (
        "% Requires \\usepackage{booktabs,graphicx}. Non-Latin characters require LuaLaTeX or XeLaTeX.\n"
        "\\begin{table}[t]\n"
        f"\\caption{{{escape.latex(unit.title)} on {escape.latex(data)}: {over}; "
        f"{NOT_SIGNIFICANT}: not significantly different from the best. {letters}{score}{settings}{some}"
        f"{escape.latex(sentence(trained(comparison)))}}}\n"
        f"\\label{{tab:{label}}}\n"
        "\\centering\\small\n"
        "% Scaled down if it is wider than a line.\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"{rows.rstrip()}}}\n"
        "\\end{table}\n"
    )
