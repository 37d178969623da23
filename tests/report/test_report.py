"""Reports on hand-made runs with known answers, and on damaged ones."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats as scipy_stats

from mnist_mlp.analysis.comparison import compare
from mnist_mlp.analysis.load import load
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.record import COLUMNS, METRICS_FILE, RUN_FILE
from mnist_mlp.report import compare_sweeps, default_directory, newest_sweep, report_on
from mnist_mlp.report.figures import panels, plots
from mnist_mlp.report.figures.draw import draw
from mnist_mlp.report.figures.style import appearance
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.training import origin
from mnist_mlp.report.write import sweep_commands
from mnist_mlp.stats.verdicts import Verdict
from tests.helpers.runs import Report, Write


def test_compare_summarizes_the_seeds_of_a_cell(write_run: Write, summarize: Report) -> None:
    finals = {"adam": [0.97, 0.98, 0.96], "sgd": [0.91, 0.92, 0.93]}
    for optim, accuracies in finals.items():
        for seed, accuracy in enumerate(accuracies):
            write_run(optim=optim, seed=seed, test=[0.1, 0.5, accuracy])
    summary = summarize()
    assert list(summary["optim"]) == ["adam", "sgd"]  # best first
    adam = summary.iloc[0]
    low, high = scipy_stats.t.interval(0.95, 2, 0.97, scipy_stats.sem(finals["adam"]))
    assert adam["test_accuracy_mean"] == pytest.approx(0.97)
    assert adam["test_accuracy_std"] == pytest.approx(0.01)
    assert [adam["test_accuracy_ci_low"], adam["test_accuracy_ci_high"]] == pytest.approx([low, high])
    assert adam["test_loss_mean"] == pytest.approx(0.03)
    assert (adam["n"], adam["diverged"], adam["failed"], adam["seconds_mean"]) == (3, 0, 0, 4.0)


def test_csv_files_have_the_documented_columns(write_run: Write, summarize: Report) -> None:
    write_run()
    measures = [
        f"{m}_{s}" for m in ("test_accuracy", "test_loss", "val_accuracy") for s in ("mean", "std", "ci_low", "ci_high")
    ]
    expected = [
        "init",
        "optim",
        "n",
        "diverged",
        "failed",
        "at_chance",
        *measures,
        "epochs_to_target",
        "seconds_to_target",
        "seconds_mean",
        "score",
        "reached_target",
        "best_epoch_mean",
        "best_epoch_val_accuracy_mean",
        "best_epoch_test_accuracy_mean",
        "letters",
    ]
    assert list(summarize().columns) == expected


def test_selection_uses_validation_not_test(write_run: Write, summarize: Report) -> None:
    for seed in (0, 1):
        write_run(lr=0.1, seed=seed, test=[0.1, 0.99], val=[0.1, 0.90])
        write_run(lr=0.01, seed=seed, test=[0.1, 0.95], val=[0.1, 0.96])
    (row,) = summarize().to_dict("records")
    assert (row["optim.lr"], row["n"], row["test_accuracy_mean"]) == (0.01, 2, pytest.approx(0.95))


def test_selection_without_validation_uses_training_not_test(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run(lr=0.1, test=[0.1, 0.99], val=[], train=[0.1, 0.90])
    write_run(lr=0.01, test=[0.1, 0.95], val=[], train=[0.1, 0.96])
    (row,) = report().to_dict("records")
    assert (row["optim.lr"], row["test_accuracy_mean"]) == (0.01, 0.95)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "optim.lr was selected in each cell among 0.01, 0.1." in text
    assert "**No validation split:** optim.lr was selected by training accuracy" in text


def test_selection_counts_a_diverged_run_as_zero(write_run: Write, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(lr=0.01, seed=seed, test=[0.1, 0.7], val=[0.1, 0.7])
    write_run(lr=0.1, seed=0, test=[0.1, 0.9], val=[0.1, 0.9])
    write_run(lr=0.1, seed=1, test=[0.1, 0.9], val=[0.1, 0.9], status="diverged", reason="the training loss is nan")
    (row,) = compare_sweeps([tmp_path / "sweep"], select="once")[1]["mnist"].summary.to_dict("records")
    assert (row["optim.lr"], row["selected"], row["n"], row["diverged"]) == (0.01, "1/1", 2, 1)
    # Seed 0 selects 0.1 and seed 1 selects 0.01; each is scored at the other's selection.
    (row,) = compare_sweeps([tmp_path / "sweep"])[1]["mnist"].summary.to_dict("records")
    assert (row["optim.lr"], row["selected"], row["n"], row["score"]) == (0.01, "1/2", 1, pytest.approx(0.35))


def test_best_epoch_is_the_first_best_on_validation(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    write_run(test=[0.1, 0.6, 0.7, 0.9], val=[0.1, 0.8, 0.8, 0.5])
    summarize()
    (row,) = pd.read_csv(tmp_path / "report" / "runs.csv").to_dict("records")
    best = [row[f"best_epoch{what}"] for what in ("", "_val_accuracy", "_test_accuracy")]
    assert best == [1, 0.8, 0.6]


def test_diverged_run_has_no_final_metrics(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    write_run(test=[0.1, 0.6], status="diverged", reason="the training loss is nan")
    summarize()
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert runs["test_accuracy"].isna().all()
    assert runs["reason"].tolist() == ["the training loss is nan"]


def test_curves_are_means_with_intervals_over_seeds(tmp_path: Path, write_run: Write) -> None:
    for seed, accuracy in enumerate([0.6, 0.7, 0.8]):
        write_run(seed=seed, test=[0.1, accuracy])
    curves = compare(load([tmp_path / "sweep"]), target=0.97).curves
    (last,) = curves[(curves["split"] == "test") & (curves["epoch"] == 1)].to_dict("records")
    half = 4.3027 * 0.1 / math.sqrt(3)  # t(0.975, 2) from any table
    assert (last["n"], last["accuracy_mean"], last["loss_mean"]) == (3, pytest.approx(0.7), pytest.approx(0.3))
    assert [last["accuracy_ci_low"], last["accuracy_ci_high"]] == pytest.approx([0.7 - half, 0.7 + half], rel=1e-4)


def test_report_counts_unfinished_runs(tmp_path: Path, write_run: Write) -> None:
    write_run()
    write_run(seed=1, status="failed", reason="no")
    (write_run(seed=2) / RUN_FILE).unlink()
    assert report_on([tmp_path / "sweep"], tmp_path / "report").unfinished == 2


def test_option_with_different_data_is_two_data_sets(write_run: Write, summarize: Report) -> None:
    write_run(seed=0, digest="a" * 64)
    write_run(seed=1, digest="b" * 64)
    assert sorted(summarize()["data"]) == ["mnist aaaaaaaa", "mnist bbbbbbbb"]


def test_default_directory_has_the_name_of_the_sweep(
    tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run()
    monkeypatch.chdir(tmp_path)
    for path, name in {
        "outputs/old/multirun/2026-01-02/10-00-00": "reports/2026-01-02/10-00-00",
        "elsewhere/mine": "reports/mine",
    }.items():
        shutil.copytree(tmp_path / "sweep", path)
        assert str(report_on([Path(path)]).directory) == name
    several = report_on([Path("elsewhere/mine"), Path("outputs/old/multirun/2026-01-02/10-00-00")])
    assert str(several.directory) == "reports/mine+2026-01-02_10-00-00"


def test_default_directory_stays_below_reports(
    tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run()
    (tmp_path / "sweep/sub/deep").mkdir(parents=True)
    (tmp_path / "multirun").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "sweep/sub")
    for path, name in {"..": "sweep", "deep/../..": "sweep", "../../multirun/sweep": "sweep"}.items():
        assert str(default_directory([Path(path)])) == f"reports/{name}"
    assert str(default_directory([Path("/")])) == "reports/all"
    assert str(default_directory([Path(".."), Path("/")])) == "reports/sweep+all"


def test_selection_skips_but_counts_a_diverged_configuration(write_run: Write, summarize: Report) -> None:
    write_run(lr=0.01, test=[0.1, 0.6])
    write_run(lr=1e6, test=[0.1], epochs=1, status="diverged", reason="the training loss is nan")
    (row,) = summarize().to_dict("records")
    assert (row["optim.lr"], row["n"], row["diverged"]) == (0.01, 1, 1)


def write_unstable(write_run: Write) -> None:
    """Write runs of Adam (four of five seeds diverge, one scores highest of all) and SGD (none diverges)."""
    for seed in range(5):
        if seed == 0:
            write_run(optim="adam", seed=seed, test=[0.1, 0.5, 0.98])
        else:
            write_run(optim="adam", seed=seed, test=[0.1, 0.5], epochs=2, status="diverged", reason="nan")
        write_run(optim="sgd", seed=seed, test=[0.1, 0.5, 0.970 + seed / 1000])


def test_cell_with_diverged_runs_does_not_win_by_survivors(tmp_path: Path, write_run: Write, report: Report) -> None:
    write_unstable(write_run)
    summary = report()
    assert summary["optim"].tolist() == ["sgd", "adam"]
    assert summary["score"].tolist() == pytest.approx([0.972, 0.98 / 5])
    assert summary["n"].tolist() == [5, 1]
    assert summary["test_accuracy_mean"].tolist() == pytest.approx([0.972, 0.98])  # of the runs that survived
    (pair,) = pd.read_csv(tmp_path / "report" / "pairs.csv").to_dict("records")
    assert (pair["optim_a"], pair["optim_b"], pair["n"]) == ("sgd", "adam", 5)
    assert pair["difference"] == pytest.approx(0.972 - 0.98 / 5)
    comparison = compare(load([tmp_path / "sweep"]), target=0.97)
    assert answer(comparison)[0].startswith("he / sgd scored highest")
    map_, _ = panels.heatmap(comparison.summary, comparison.by).axes
    assert {text.get_text() for text in map_.texts} == {"97.20", "19.60"}
    look = appearance(comparison.summary, comparison.by)
    ax = plots.plot_seeds(Figure().subplots(), comparison.scored, comparison.summary, look)
    drawn = sorted(float(np.mean(np.asarray(line.get_xdata()))) for line in ax.lines)  # the seeds and the bar of each
    assert drawn == pytest.approx([19.6, 19.6, 97.2, 97.2])
    text = (tmp_path / "report" / "report.md").read_text()
    assert "the highest is he / sgd at 97.20%" in text


def test_effects_use_scores(tmp_path: Path, write_run: Write) -> None:
    write_unstable(write_run)
    for seed in range(5):
        for optim in ("adam", "sgd"):
            write_run("lecun", optim, seed, test=[0.1, 0.5, 0.97 + seed / 1000])
    effects = compare(load([tmp_path / "sweep"]), target=0.97).effects.table.set_index("effect")
    assert effects.loc["optim", "range"] == pytest.approx((0.972 + 0.972) / 2 - (0.98 / 5 + 0.972) / 2)


def test_tables_sort_values_naturally(tmp_path: Path, write_run: Write, summarize: Report) -> None:
    depths = (10, 4, 2)
    for number, depth in enumerate(depths):
        for optim in ("adam", "sgd"):
            for seed in (0, 1, 2):
                own = [None, 16, 128][number]
                more = {"model": {"hidden": [64] * depth, "own": own}, "log_interval": number + 1}
                test = [0.1, 0.5 + depth / 100 + (seed + depth * (optim == "sgd")) % 3 / 100]
                write_run(optim=optim, seed=seed, test=test, **more)
                write_run(optim=optim, seed=seed + 3, test=test, **more)
    summarize(by=["model.hidden", "optim"])
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert [len(json.loads(hidden)) for hidden in runs["model.hidden"].unique()] == [2, 4, 10]
    comparison = compare(load([tmp_path / "sweep"]), 0.97, ("model.hidden", "optim"))
    clearest = comparison.effects.table.set_index("effect").loc["model.hidden", "most_significant"]
    assert clearest == f"[64, 64] minus {[64] * 10}"
    (curves, *_) = draw(tmp_path, comparison, "", ())
    assert list(curves.legend) == ["2 × 64", "4 × 64", "10 × 64", "best cell"]
    assert re.findall("> *(adam|sgd)</text>", curves.views["test error"]) == ["sgd", "adam"]


@pytest.mark.parametrize("values", [[None, 128, 16, 2], [[64] * 4, [8], [64, 8]], ["b", "a"], [True, False]])
def test_cells_of_equal_score_are_sorted_naturally(tmp_path: Path, write_run: Write, values: list[Any]) -> None:
    for number, value in enumerate(values):
        write_run(model={"own": value}, log_interval=number + 1)
    found = compare(load([tmp_path / "sweep"]), 0.97, ["model.own"]).summary["model.own"]
    ordered = sorted((as_typed(value) for value in values if value is not None), key=lambda text: sort_key(text))
    assert list(map(as_typed, found)) == [*map(str, ordered), *(["null"] if None in values else [])]


def test_runs_at_chance_are_marked(
    tmp_path: Path, write_run: Write, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    # 0.1135 + 3 sqrt(0.1135 * 0.8865 / 10000) = 0.12302
    facts = {"test": 10_000, "commonest_test_share": 0.1135}
    for seed, final in enumerate((0.1230, 0.1231, 0.97)):
        write_run(lr=0.1, seed=seed, test=[0.1, 0.5, final], data_facts=facts)
        write_run(lr=1.0, seed=seed, test=[0.1, 0.1, 0.1028], data_facts=facts)
    write_run(optim="sgd", test=[0.1, 0.1, 0.1028])  # an older run without the share
    write_run(optim="sgd", seed=1, test=[0.1, 0.1], epochs=2, status="diverged", reason="nan", data_facts=facts)
    summary = report().set_index("optim")
    assert summary["at_chance"].to_dict() == {"adam": 4, "sgd": 0}
    assert summary.loc["adam", "test_accuracy_mean"] == pytest.approx((0.1230 + 0.1231 + 0.97) / 3)
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert runs["at_chance"].tolist()[:6] == [True, False, False, True, True, True]
    assert runs["at_chance"].isna().tolist()[6:] == [True, True]
    assert (
        "note: Not shown to beat chance: 4 of 7 completed runs are not shown to be better than always naming the "
        "commonest class (he / adam: 4), 1 of them at the selected configurations; it stays in the means."
    ) in capsys.readouterr().out


@pytest.mark.parametrize("images", [(100, 100, 100), (100, None, 100)])
def test_run_without_test_size_uses_that_of_the_others(
    tmp_path: Path, write_run: Write, images: Sequence[int | None]
) -> None:
    for seed, size in enumerate(images):
        for optim, accuracy in (("adam", 0.96), ("sgd", 0.95)):  # by a single image, in every seed
            write_run(optim=optim, seed=seed, test=[0.1, accuracy], data_facts={"test": size} if size else {})
    (found,) = compare(load([tmp_path / "sweep"]), target=0.97).pairs["verdict"]
    assert found == "inconclusive"  # without any size: not tested


def test_failed_run_is_missing_from_the_score(write_run: Write, summarize: Report) -> None:
    write_run(seed=0, test=[0.1, 0.9])
    write_run(seed=1, test=[0.1, 0.8])
    write_run(seed=2, test=[0.1, 0.99], status="failed", reason="RuntimeError: no")
    write_run(optim="sgd", seed=0, test=[0.1, 0.99], status="failed", reason="RuntimeError: no")
    summary = summarize()
    assert summary["optim"].tolist() == ["adam", "sgd"]
    assert (summary["score"][0], summary["failed"].tolist()) == (pytest.approx(0.85), [1, 1])
    assert math.isnan(summary["score"][1])


def test_cell_of_diverged_runs_stays_in_the_table(write_run: Write, summarize: Report) -> None:
    write_run(optim="adam")
    write_run(optim="sgd", test=[0.1], epochs=2, status="diverged", reason="the training loss is nan")
    summary = summarize()
    assert list(summary["optim"]) == ["adam", "sgd"]
    assert (summary["n"][1], summary["diverged"][1]) == (0, 1)
    assert math.isnan(summary["test_accuracy_mean"][1])
    assert summary["score"].tolist() == [0.9, 0]


def test_cells_of_diverged_runs_are_ranked_last(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for init in ("he", "lecun"):
            for optim in ("adam", "sgd"):
                write_run(init, optim, seed, test=[0.1], epochs=2, status="diverged", reason="nan")
    assert summarize()["score"].tolist() == [0] * 4
    pairs = pd.read_csv(tmp_path / "report" / "pairs.csv")
    assert (pairs["difference"] == 0).all()
    assert not pairs["verdict"].isin(["better", "worse"]).any()
    write_run("xavier", test=[0.1, 0.1, 0.0])  # a completed run precedes diverged ones, even at accuracy 0
    assert summarize()["init"].tolist()[0] == "xavier"


def test_report_without_completed_run_is_written(
    tmp_path: Path, write_run: Write, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(optim="adam", test=[0.1], epochs=2, status="diverged", reason="the training loss is nan")
    failed = write_run(optim="sgd", status="failed", reason="RuntimeError: no", digest=None)
    (failed / METRICS_FILE).write_text(",".join(COLUMNS) + "\n")  # it failed before the first evaluation
    assert len(report()) == 2
    assert "RuntimeError: no" in capsys.readouterr().out
    assert (tmp_path / "report" / "index.html").exists()


def test_time_to_target_is_a_median_with_infinite_misses(write_run: Write, summarize: Report) -> None:
    for seed, val in enumerate(([0.1, 0.8, 0.9], [0.1, 0.7, 0.8], [0.1, 0.7, 0.7])):
        write_run(optim="adam", seed=seed, test=[0.1, 0.1, 0.1], val=val)
        write_run(optim="sgd", seed=seed, test=[0.9, 0.9, 0.9], val=[0.1, 0.1, 0.8 if seed == 0 else 0.1])
    summary = summarize(target=0.8).set_index("optim")
    assert list(summary.loc["adam", ["epochs_to_target", "seconds_to_target"]]) == [2, 4]
    assert list(summary.loc["sgd", ["epochs_to_target", "seconds_to_target"]]) == [math.inf, math.inf]


def test_time_to_target_without_validation_uses_test(write_run: Write, summarize: Report) -> None:
    write_run(test=[0.1, 0.9, 0.9], val=[])
    assert summarize(target=0.9)["epochs_to_target"].tolist() == [1]


FIGURES = ("learning_curves", "curves_from_best", "heatmap", "differences", "seeds", "time_to_target")


def damage_truncate(run: Path) -> None:
    text = (run / METRICS_FILE).read_text()
    (run / METRICS_FILE).write_text(text[: len(text) // 2])


def damage_foreign(run: Path) -> None:
    (run / METRICS_FILE).write_text("a;b\n1;2\n")


def damage_binary(run: Path) -> None:
    (run / METRICS_FILE).write_bytes(bytes(range(256)))


def damage_empty(run: Path) -> None:
    (run / METRICS_FILE).write_text("")


def damage_words(run: Path) -> None:
    text = (run / METRICS_FILE).read_text()
    (run / METRICS_FILE).write_text(text.replace("0.5", "half"))


def damage_repeated(run: Path) -> None:
    text = (run / METRICS_FILE).read_text()
    (run / METRICS_FILE).write_text(text + text.splitlines()[-1] + "\n")


def damage_cut_row(run: Path) -> None:
    summary = json.loads((run / RUN_FILE).read_text()) | {"status": "diverged"}
    (run / RUN_FILE).write_text(json.dumps(summary))
    (run / METRICS_FILE).write_text((run / METRICS_FILE).read_text() + "3,30,te")


def damage_altered(run: Path) -> None:
    text = (run / METRICS_FILE).read_text()
    (run / METRICS_FILE).write_text(text.replace("0.9,", "0.8,"))


def damage_json(run: Path) -> None:
    (run / RUN_FILE).write_text('{"status": "comp')


def damage_foreign_json(run: Path) -> None:
    (run / RUN_FILE).write_text('{"status": "completed"}')


def damage_list_json(run: Path) -> None:
    (run / RUN_FILE).write_text("[1, 2]")


def damage_deep_json(run: Path) -> None:
    (run / RUN_FILE).write_text("[" * 100_000)


def alter(run: Path, path: str, value: Any) -> None:
    """Replace the value at a dotted path in a run.json."""
    summary = json.loads((run / RUN_FILE).read_text())
    *parents, key = path.split(".")
    node = summary
    for parent in parents:
        node = node.setdefault(parent, {})
    node[key] = value
    (run / RUN_FILE).write_text(json.dumps(summary))


def damage_endless(run: Path) -> None:
    alter(run, "config.epochs", 10**15)  # exceeds the memory


def damage_digest(run: Path) -> None:
    alter(run, "data.digest", ["a"])


def damage_step(run: Path) -> None:
    alter(run, "step", [])


def damage_size(run: Path) -> None:
    alter(run, "stack_size", "")


def damage_overrides(run: Path) -> None:
    alter(run, "overrides", True)


def damage_target(run: Path) -> None:
    alter(run, "config.model._target_", True)


def damage_rate(run: Path) -> None:
    alter(run, "config.optim.lr", 10**400)


def damage_gone(run: Path) -> None:
    (run / RUN_FILE).unlink()


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


def test_report_names_and_leaves_out_damaged_runs(
    tmp_path: Path, write_run: Write, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run()
    damaged = [write_run(seed=1 + number) for number in range(len(DAMAGES))]
    for damage, run in zip(DAMAGES, damaged, strict=True):
        damage(run)
    assert report()["n"].tolist() == [1]
    output, text = capsys.readouterr().out, (tmp_path / "report" / "report.md").read_text()
    for run in damaged:
        assert f"left out: {run}: " in output
        assert str(run) in text


def test_copied_run_counts_once(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    shutil.copytree(write_run(), tmp_path / "sweep" / "again")
    assert summarize()["n"].tolist() == [1]


def test_result_is_preferred_to_failure_of_the_same_job(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    failed = write_run(status="failed", reason="RuntimeError: no", digest=None)
    failed.rename(tmp_path / "sweep" / "0-earlier")
    write_run()
    (row,) = summarize().to_dict("records")
    assert (row["n"], row["failed"]) == (1, 0)


def test_report_of_different_data_has_separate_sections(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run(data="mnist", digest="a" * 64)
    write_run(data="digits", digest="b" * 64)
    summary = report(target=0.8)
    assert sorted(summary["data"]) == ["digits", "mnist"]
    assert {p.stem for p in (tmp_path / "report" / "figures").glob("*.svg")} == {
        *(
            f"{name}_{data}"
            for name in ("learning_curves", "heatmap", "seeds", "time_to_target")
            for data in ("mnist", "digits")
        )
    }


def test_report_directory_has_the_documented_files(write_run: Write, report: Report, tmp_path: Path) -> None:
    for optim in ("adam", "sgd"):
        for seed in (0, 1, 2):
            write_run(optim=optim, seed=seed)
    report(target=0.8)
    files = {str(path.relative_to(tmp_path / "report")) for path in (tmp_path / "report").rglob("*.*")}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert files == {
        "figures/.drawn.json",
        "index.html",
        "report.md",
        "summary.tex",
        "summary.csv",
        "runs.csv",
        "pairs.csv",
        "effects.csv",
        "effect_differences.csv",
        *figures,
    }
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert list(runs.columns[:4]) == ["run", "init", "optim", "seed"]
    assert runs["test_accuracy"].tolist() == [0.9] * 6


def test_report_again_replaces_only_its_figures(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run(data="mnist", digest="a" * 64)
    write_run(data="digits", digest="b" * 64)
    report(formats=["pdf"])
    figures = tmp_path / "report" / "figures"
    (figures / "heatmap_mine.png").write_text("a file of the user")
    assert (figures / "heatmap_digits.pdf").exists()
    shutil.rmtree(next(run for run in (tmp_path / "sweep").iterdir() if run.name.startswith("digits")))
    report()
    assert (figures / "heatmap.png").exists()
    assert {path.name for path in figures.iterdir() if "_digits" in path.name or "_m" in path.name} == {
        "heatmap_mine.png"
    }


def test_page_escapes_names(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run(optim="<img src=x onerror=alert(1)>")
    report()
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<summary>All 1 run</summary>" in page


def test_page_of_two_data_sets_explains_every_verdict_once(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run()
    write_run(data="digits", digest="b" * 64)
    report()
    page = (tmp_path / "report" / "index.html").read_text()
    assert re.findall("<dt>(.*?)</dt><dd>.+?</dd>", page) == list(Verdict)


@pytest.mark.parametrize("target", [0.0, 1.5, math.nan])
def test_report_with_target_out_of_range_raises(write_run: Write, summarize: Report, target: float) -> None:
    write_run()
    with pytest.raises(UserError, match="--target"):
        summarize(target=target)


def test_report_without_runs_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such directory"):
        report_on([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no run to report on"):
        report_on([tmp_path])
    with pytest.raises(UserError, match="no sweep found"):
        newest_sweep(tmp_path)


def test_answer_names_ties_and_significant_pairs(tmp_path: Path, write_run: Write) -> None:
    finals = {
        ("he", "adam"): [0.97, 0.70, 0.93, 0.65, 0.98, 0.95],  # best, but too noisy for significance
        ("he", "sgd"): [0.86, 0.861, 0.859, 0.86, 0.8605, 0.8601],
        ("lecun", "sgd"): [0.70, 0.7005, 0.70, 0.701, 0.6995, 0.7003],
    }
    for (init, optim), accuracies in finals.items():
        for seed, final in enumerate(accuracies):
            write_run(init, optim, seed, test=[0.1, final], val=[0.1, 0.9])
    comparison = compare(load([tmp_path / "sweep"]), target=0.85)
    best, *_, soonest, _ = answer(comparison)
    assert "the comparison with every other cell is inconclusive" in best
    assert best.endswith("1 of 3 pairs does differ, such as he / sgd, better than lecun / sgd.")
    assert soonest == (
        "Fastest to 85% validation accuracy: he / adam, in 1 epoch and 2.0 s, tied with he / sgd, lecun / sgd "
        "(medians, not tested; 18 of 18 runs reached it)."
    )


def test_answer_on_stacked_runs_does_not_rank_by_seconds(tmp_path: Path, write_run: Write) -> None:
    for optim in ("adam", "sgd"):
        run = write_run(optim=optim) / "run.json"
        run.write_text(json.dumps(json.loads(run.read_text()) | {"step": "stacked", "stack_size": 2}))
    comparison = compare(load([tmp_path / "sweep"]), target=0.8)
    assert "in 2 epochs, tied with he / sgd (medians" in answer(comparison)[-2]
    assert "2 of 2 runs were trained in stacks" in method(comparison)[-1]


def test_page_head_names_command_and_origin(write_run: Write, tmp_path: Path) -> None:
    facts = {"cpu": "A_B", "device": "cuda:0"}
    for seed, ended in enumerate(("2026-01-01T23:00:00+00:00", "2026-01-03T00:00:00+00:00")):
        file = write_run(seed=seed, environment=facts) / RUN_FILE
        file.write_text(json.dumps(json.loads(file.read_text()) | {"ended": ended, "wall_seconds": 60}))
    runs = load([tmp_path / "sweep"]).runs
    assert runs["wall_seconds"].tolist() == [60, 60]
    runs["wall_seconds"] = 1800.0
    assert origin(runs) == "2 runs by A_B, cuda:0, ended 2026-01-01 to 2026-01-03, 1.0 hours of work."
    assert origin(runs.head(1).assign(wall_seconds=math.nan)) == "1 run by A_B, cuda:0, ended 2026-01-01."
    commands = {"task": ["experiment=x", "seed=0"], "hydra": ["hydra.mode=MULTIRUN"]}
    record = tmp_path / "sweep" / "multirun.yaml"
    for damaged in (b"\xff\xfe", json.dumps({"hydra": {"overrides": {"hydra": [1], "task": []}}}).encode()):
        record.write_bytes(damaged)
        assert sweep_commands(record.parent) == []
    record.write_text(json.dumps({"hydra": {"overrides": commands}}))
    report_on([tmp_path / "sweep"], tmp_path / "report")
    head = "`python run.py experiment=x seed=0`: 2 runs by A_B, cuda:0, ended 2026-01-01 to 2026-01-03."
    assert head in (tmp_path / "report" / "report.md").read_text()
    assert (
        "<code>python run.py experiment=x seed=0</code>: 2 runs by A_B" in (tmp_path / "report/index.html").read_text()
    )


def test_load_run_with_impossible_times_is_named(write_run: Write, tmp_path: Path) -> None:
    for seed, facts in enumerate(({"ended": "9999-12-31T23:59:59-23:59"}, {"wall_seconds": math.inf}, {})):
        file = write_run(seed=seed) / RUN_FILE
        file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    results = load([tmp_path / "sweep"])
    assert (len(results.problems), len(results.runs)) == (2, 1)
