"""Notes on the fairness of a comparison; compared and tuned keys."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_mlp import report
from mnist_mlp.analysis.comparison import Comparison, compare
from mnist_mlp.analysis.load import load
from mnist_mlp.analysis.values import sort_key
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from mnist_mlp.report.text.captions import timed_split
from mnist_mlp.report.text.method import method
from tests.helpers.runs import Report, Write

SGD = {"_target_": "torch.optim.SGD", "momentum": 0.0}
MOMENTUM = {"_target_": "torch.optim.SGD", "momentum": 0.9}


def compared(tmp_path: Path, **kwargs: Any) -> Comparison:
    return compare(load([tmp_path / "sweep"]), target=0.97, **kwargs)


def notes(tmp_path: Path, **kwargs: Any) -> dict[str, str]:
    return {note.topic: note.text for note in compared(tmp_path, **kwargs).notes}


@pytest.mark.parametrize(
    ("runs", "topic", "text"),
    [
        ([{"seed": 0}], "One seed", "each cell has a single result"),
        ([{"seed": 0}, {"seed": 1}, {"seed": 0, "optim": "sgd"}], "Unequal seeds", "others fewer (he / sgd: 1)"),
        ([{}, {"optim": "sgd"}], "Learning rate not tuned", "ranks configurations, not optimizers"),
        ([{}, {"init": "lecun"}], "Learning rate not tuned", "which may suit some cells better than others"),
        (
            [{"seed": seed, "batch_size": 32 if seed < 3 else 64} for seed in range(6)],
            "Configurations with unequal seeds",
            "within he / adam, configurations were run with different seeds",
        ),
        (
            [{"seed": seed, "batch_size": batch} for seed, batch in ((0, 32), (1, 32), (0, 64))],
            "Configurations with unequal seeds",
            "within he / adam, configurations were run with different seeds",
        ),
        ([{"val": []}, {"val": [], "lr": 0.1}], "No validation split", "optim.lr was selected by training accuracy"),
        (
            [{"lr": 0.1}, {"lr": 0.01}, {"optim": "sgd", "lr": 0.1}],
            "Unequal tuning budgets",
            "(he / adam: 2 configurations with 1 seed, he / sgd: 1 configuration with 1 seed)",
        ),
        (
            [{"lr": 0.1, "test": [0.1, 0.9]}, {"lr": 0.01, "test": [0.1, 0.8]}],
            "Best optim.lr at the edge of what was tried",
            "try larger values for he / adam (lr=0.1)",
        ),
        (
            [{"lr": 0.1, "test": [0.1, 0.8]}, {"lr": 0.01, "test": [0.1, 0.9]}],
            "Best optim.lr at the edge of what was tried",
            "try smaller values for he / adam (lr=0.01)",
        ),
        (
            [
                {"optim": "sgd", "optim_config": SGD, "test": [0.1, 0.9]},
                {"optim": "momentum", "optim_config": MOMENTUM, "test": [0.1, 0.8]},
            ],
            "Momentum loses to plain SGD",
            "he / momentum at 80.00% to he / sgd at 90.00%",
        ),
        (
            [{}, {"seed": 1, "test": [0.1], "epochs": 2, "status": "diverged", "reason": "nan"}],
            "Divergences",
            "1 of 2 runs diverged (he / adam: 1), 1 of them at the selected configurations",
        ),
        ([{}, {"seed": 1, "status": "failed", "reason": "no"}], "Failures", "1 of 2 runs failed"),
        (
            [{"environment": {"commit": "a" * 40}}, {"seed": 1, "environment": {"commit": "b" * 40}}],
            "Different code",
            f"commit {'a' * 20}, {'b' * 20}",
        ),
        (
            [{"environment": {"code": {"mine": digit * 64}}, "seed": seed} for seed, digit in enumerate("ab")]
            + [{"seed": 2}],
            "Different code",
            f"the runs come from code.mine {'a' * 20}, {'b' * 20}.",
        ),
        (
            [{"environment": {"cpu": "one"}}, {"seed": 1, "environment": {"cpu": "two"}}],
            "Different hardware",
            "cpu one, two. Times are not comparable.",
        ),
    ],
)
def test_notes_report_each_threat_to_a_fair_comparison(
    tmp_path: Path, write_run: Write, runs: list[dict[str, Any]], topic: str, text: str
) -> None:
    for run in runs:
        write_run(**run)
    assert text in notes(tmp_path)[topic]


def test_report_shows_notes_on_page_and_in_markdown(tmp_path: Path, write_run: Write, report: Report) -> None:
    write_run()
    write_run(optim="sgd")
    write_run(seed=1, status="failed", reason="no")
    report()
    topics = notes(tmp_path)
    assert {"One seed", "Learning rate not tuned", "Failures"} <= set(topics)
    for name in ("index.html", "report.md"):
        text = (tmp_path / "report" / name).read_text()
        assert all(topic in text for topic in topics)


def test_notes_of_fair_comparison_are_empty(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1):
        for optim in ("adam", "sgd"):
            for lr, accuracy in ((0.1, 0.8), (0.01, 0.9), (0.001, 0.7)):
                own = {"code": {"mine": "a" * 64}} if optim == "adam" else {}  # used by one optimizer only
                write_run(optim=optim, seed=seed, lr=lr, test=[0.1, accuracy], environment=own)
    assert notes(tmp_path) == {}


def test_notes_best_dropout_of_zero_is_no_edge(tmp_path: Path, write_run: Write) -> None:
    for dropout, best in ((0.0, 0.9), (0.5, 0.8)):
        write_run(test=[0.1, best], model={"dropout": dropout})
    assert not any("edge" in topic for topic in notes(tmp_path))


def test_notes_best_next_to_diverged_value_is_no_edge(tmp_path: Path, write_run: Write) -> None:
    write_run(lr=0.001, test=[0.1, 0.8])
    write_run(lr=0.01, test=[0.1, 0.9])
    write_run(lr=0.1, test=[0.1], epochs=1, status="diverged", reason="nan")
    assert not any("edge" in topic for topic in notes(tmp_path))


@pytest.mark.parametrize(
    "runs",
    [
        [{"optim_config": {"weight_decay": value}, "test": [0.1, 0.9 - value]} for value in (0.0, 0.1)],
        [{"schedule": {"warmup": value}, "test": [0.1, 0.5 + value / 5]} for value in (0.5, 1.0)],
    ],
)
def test_notes_best_at_limit_of_valid_range_is_no_edge(
    tmp_path: Path, write_run: Write, runs: list[dict[str, Any]]
) -> None:
    for number, run in enumerate(runs, 1):
        write_run(**run, log_interval=number)
    assert not any("edge" in topic for topic in notes(tmp_path))


def test_notes_edge_is_that_of_the_selected_option(tmp_path: Path, write_run: Write) -> None:
    for init in ("he", "lecun"):
        for optim, lr, final in (("adam", 0.001, 0.8), ("adam", 0.01, 0.9), ("sgd", 0.01, 0.5), ("sgd", 1.0, 0.6)):
            write_run(init, optim, lr=lr, test=[0.1, final])
    text = notes(tmp_path, by=["init"])["Best optim.lr at the edge of what was tried"]
    assert text.endswith("try larger values for he (lr=0.01), lecun (lr=0.01).")


@pytest.mark.parametrize(
    "runs",
    [
        [{"seed": seed, "lr": lr} for seed, lr in ((0, 0.01), (1, 0.01), (2, 0.01), (2, 0.1))],  # two have one value
        [{"seed": seed, "lr": lr} for seed, lr in ((0, 0.1), (1, 0.1), (2, 0.01))],  # every seed has one value only
        [
            {"seed": seed, "optim": optim, "lr": lr, "test": [0.1, 0.9 - (optim == "sgd") / 2]}
            for seed, rate in enumerate((0.1, 0.1, 0.01))
            for optim, lr in (("adam", rate), ("sgd", 0.01))
        ],  # each option has one value per seed
    ],
)
def test_notes_replicates_without_other_values_have_no_edge(
    tmp_path: Path, write_run: Write, runs: list[dict[str, Any]]
) -> None:
    for run in runs:
        write_run(**run)
    for by in (("init", "optim"), ("init",)):
        assert not any("edge" in topic for topic in notes(tmp_path, by=by))


def test_sort_key_of_any_values_gives_natural_order() -> None:
    ordered = [
        *("-1", "0.001", "2", "10", "1e10", "inf"),
        *("[]", "[2]", "[64]", "[128]", "[8, 8]", "[64, 8]", "[64, 32]", "[8, 8, 8, 8]"),
        *("'10'", "[a]", "adam", "nan", "true", "null"),
    ]
    shuffled = [*ordered[::2], *ordered[1::2]]
    assert sorted(shuffled, key=sort_key) == ordered


def test_notes_list_cells_and_values_in_natural_order(tmp_path: Path, write_run: Write) -> None:
    depths = [[64] * depth for depth in (8, 4, 2)]
    for number, (hidden, lr) in enumerate(product(depths, (0.1, 0.01))):
        run = {"model": {"hidden": hidden, "own": 16 - len(hidden)}, "lr": lr, "log_interval": number + 1}
        write_run(**run, test=[0.1, 0.5 + lr])
        write_run(**run | {"optim": "sgd"}, status="diverged", reason="nan")
    text = notes(tmp_path, by=["optim", "model.hidden"])
    of_adam, of_sgd = ([f"{optim} / model.hidden={hidden}" for hidden in depths[::-1]] for optim in ("adam", "sgd"))
    assert f"({', '.join(f'{cell}: 2' for cell in of_sgd)})" in text["Divergences"]
    edges = text["Best optim.lr at the edge of what was tried"]
    assert f"larger values for {', '.join(f'{cell} (lr=0.1)' for cell in of_adam)}" in edges
    values = [part.split(" in ")[0] for part in text["Cells differ in model.own too"].split("; ")[:3]]
    assert values == ["8", "12", "14"]


def test_notes_compared_condition_is_not_a_different_search(tmp_path: Path, write_run: Write) -> None:
    for seed, epochs, lr in product(range(3), (1, 2), (0.1, 0.01)):
        write_run(seed=seed, lr=lr, test=[0.1] + [0.8 + lr + seed / 100] * epochs)
    topics = notes(tmp_path, by=["optim", "epochs"])
    assert "Best optim.lr at the edge of what was tried" in topics
    assert [topic for topic in topics if "Searched" in topic] == []


def test_notes_hardware_facts_with_equal_prefix_are_distinguished(tmp_path: Path, write_run: Write) -> None:
    for seed, (cpu, threads) in enumerate((("8481C", 16), ("8375C", 2))):
        write_run(seed=seed, environment={"cpu": f"Intel(R) Xeon(R) Platinum {cpu} CPU", "threads": threads})
    text = notes(tmp_path)["Different hardware"]
    assert "cpu Intel(R) Xeon(R) Platinum 8375, Intel(R) Xeon(R) Platinum 8481; threads 2, 16." in text


def test_notes_sgd_selected_with_momentum_is_not_plain_sgd(tmp_path: Path, write_run: Write) -> None:
    for number, (of, final) in enumerate(((SGD, 0.8), (MOMENTUM, 0.95)), 1):
        write_run(optim="sgd", optim_config=of, test=[0.1, final], log_interval=number)
    write_run(optim="nag", optim_config=MOMENTUM, test=[0.1, 0.9])
    assert "Momentum loses to plain SGD" not in notes(tmp_path)


def test_notes_momentum_loss_is_reported_in_every_group(tmp_path: Path, write_run: Write) -> None:
    for train_size in (None, 1000):
        write_run(optim="sgd", optim_config=SGD, data_config={"train_size": train_size}, test=[0.1, 0.9])
        write_run(optim="momentum", optim_config=MOMENTUM, data_config={"train_size": train_size}, test=[0.1, 0.8])
    text = notes(tmp_path, by=["optim", "data.train_size"])["Momentum loses to plain SGD"]
    assert "train_size=1000 at 90.00%" in text
    assert "train_size=null at 90.00%" in text
    assert text.endswith("its configurations are poor, unless the difference is chance.")


def test_notes_option_without_key_is_not_confounded_by_it(tmp_path: Path, write_run: Write) -> None:
    for init, momentum in (("he", 0.5), ("lecun", 0.9)):
        write_run(init, "sgd", optim_config=SGD | {"momentum": momentum})
        write_run(init, "adam")
    assert notes(tmp_path)["Cells differ in optim.momentum too"].startswith("0.5 in he / sgd; 0.9 in lecun / sgd; its")


def test_notes_value_that_only_failed_counts_as_untried(tmp_path: Path, write_run: Write) -> None:
    write_run(lr=0.001, test=[0.1, 0.8])
    write_run(lr=0.01, test=[0.1, 0.9])
    write_run(lr=0.1, status="failed", reason="no")
    assert "try larger values for he / adam (lr=0.01)" in notes(tmp_path)["Best optim.lr at the edge of what was tried"]


def test_notes_untuned_rate_is_reported_between_optimizers_only(tmp_path: Path, write_run: Write) -> None:
    write_run()
    assert "Learning rate not tuned" not in notes(tmp_path)  # a single cell is not ranked
    for optim, batch in (("adam", 64), ("sgd", 32), ("sgd", 64)):
        write_run(optim=optim, batch_size=batch)
    assert "Learning rate not tuned" in notes(tmp_path)
    assert "Learning rate not tuned" not in notes(tmp_path, by=["batch_size"])


def test_notes_momentum_loss_within_noise_is_not_reported(tmp_path: Path, write_run: Write) -> None:
    for seed, accuracy in enumerate((0.90, 0.80, 0.85)):
        write_run(optim="sgd", optim_config=SGD, seed=seed, test=[0.1, accuracy + 0.001 * (seed - 1) ** 3 + 0.0001])
        write_run(optim="momentum", optim_config=MOMENTUM, seed=seed, test=[0.1, accuracy])
    assert not any("Momentum" in topic for topic in notes(tmp_path))


def test_report_by_compares_any_varying_key(tmp_path: Path, write_run: Write, summarize: Report) -> None:
    for seed in (0, 1, 2):
        for batch, accuracy in ((32, 0.9), (64, 0.8)):
            for optim, worse in (("adam", 0.0), ("sgd", 0.1)):
                write_run(optim=optim, seed=seed, test=[0.1, accuracy - worse + seed / 1000], batch_size=batch)
    summary = summarize(by=["batch_size"])
    assert summary.columns[:2].tolist() == ["batch_size", "optim"]
    assert summary[["batch_size", "optim", "n"]].to_numpy().tolist() == [[32, "adam", 3], [64, "adam", 3]]
    pairs = pd.read_csv(tmp_path / "report" / "pairs.csv")
    assert pairs.columns[:2].tolist() == ["batch_size_a", "batch_size_b"]
    assert pairs["difference"].tolist() == pytest.approx([0.1])
    assert len(summarize(by=["optim", "batch_size"])) == 4
    assert summarize()["batch_size"].tolist() == [32, 32]  # a key that is not compared is tuned
    for key in ("seed", "epochs"):
        with pytest.raises(UserError, match=f"--by {key}: expected .* init, optim, batch_size"):
            summarize(by=[key])


@pytest.mark.parametrize("key", ["data.split_seed", "data.own", "epochs", "tf32"])
def test_report_evaluation_conditions_make_sections(
    tmp_path: Path, write_run: Write, summarize: Report, key: str
) -> None:
    group, _, name = key.rpartition(".")
    for value, better in ((1, 0.0), (12, 0.05), (2, 0.02)):
        more = {"data_config": {name: value}} if group else {name: value}
        for optim, accuracy in (("adam", 0.9), ("sgd", 0.8)):
            for seed in (0, 1, 2):
                test = [0.1, *[0.5] * (value - 1 if key == "epochs" else 0), accuracy + better + seed / 1000]
                write_run(optim=optim, seed=seed, test=test, **more)
    summary = summarize()
    assert summary["data"].tolist() == [f"mnist, {key}={value}" for value in (1, 1, 2, 2, 12, 12)]
    assert summary["n"].tolist() == [3] * 6
    assert summary["score"].tolist() == pytest.approx([0.901, 0.801, 0.921, 0.821, 0.951, 0.851])
    assert key not in summary.columns
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert sorted(runs[key]) == [1] * 6 + [2] * 6 + [12] * 6
    assert runs["chosen"].all()
    by = summarize(by=[key, "optim"])  # compared keys make no sections
    assert by[[key, "optim"]].to_numpy().tolist()[:2] == [[12, "adam"], [2, "adam"]]
    assert by["n"].tolist() == [3] * 6


def section_notes(tmp_path: Path) -> list[dict[str, str]]:
    """Notes of each section of a report: topic to text."""
    sections = report.compare_sweeps([tmp_path / "sweep"])[1].values()
    return [{note.topic: note.text for note in section.notes} for section in sections]


@pytest.mark.parametrize("key", ["split_seed", "own"])
def test_notes_condition_varying_with_seed_advise_common_value(tmp_path: Path, write_run: Write, key: str) -> None:
    for seed, optim in product((0, 1, 2), ("adam", "sgd")):
        write_run(optim=optim, seed=seed, data_config={key: seed})
    sections = section_notes(tmp_path)
    assert len(sections) == 3
    for section in sections:
        assert "One seed" not in section
        assert section["Seeds in separate sections"] == (
            f"no seed has two values of data.{key}, which is an evaluation condition, so this section has 1 of 3 "
            f"seeds and tests no difference. To compare over seeds, run all of them with the same data.{key}."
        )


def test_notes_conditions_varying_with_seed_groups_advise_common_value(tmp_path: Path, write_run: Write) -> None:
    for seed in range(4):
        write_run(seed=seed, data_config={"split_seed": seed // 2}, test=[0.1] * (2 + seed // 2))
    for section in section_notes(tmp_path):
        text = section["Seeds in separate sections"]
        assert "of epochs and data.split_seed, which are evaluation conditions" in text
        assert "this section has 2 of 4 seeds" in text


@pytest.mark.parametrize(
    ("seeds", "topics"),
    [
        ({0: [0], 1: [0]}, {"One seed"}),  # the same seed with both splits
        ({0: [0, 1], 1: [1, 2]}, set()),
        ({0: [0, 1, 2], 1: [3, 4, 5]}, set()),  # enough in each section
        ({0: [0]}, {"One seed"}),
    ],
)
def test_notes_seeds_of_several_sections_are_as_usual(
    tmp_path: Path, write_run: Write, seeds: dict[int, list[int]], topics: set[str]
) -> None:
    for split_seed, of_split in seeds.items():
        for seed in of_split:
            write_run(seed=seed, data_config={"split_seed": split_seed})
    assert [set(section) for section in section_notes(tmp_path)] == [topics] * len(seeds)


def test_notes_seeds_of_other_data_set_need_no_common_value(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1):
        write_run(seed=seed, data_config={"split_seed": seed})
    write_run(data="digits", digest="e" * 64)
    mnist, *_, digits = sorted(section_notes(tmp_path), key=lambda section: "One seed" in section)
    assert set(digits) == {"One seed"}
    assert set(mnist) == {"Seeds in separate sections"}


def test_report_tables_have_values_of_section_without_tuning(
    tmp_path: Path, write_run: Write, summarize: Report
) -> None:
    for data, rates in (("digits", (0.1, 0.01)), ("mnist", (0.03,))):
        for optim in ("adam", "sgd"):
            for lr in rates:
                write_run(optim=optim, lr=lr, data=data, digest=data * 10, test=[0.1, 0.9 + lr])
    for seed, target in ((1, "torch.optim.SGD"), (2, "other.SGD")):  # a cell may have several targets
        write_run("he", "sgd", seed, lr=0.03, digest="mnist" * 10, optim_config={"_target_": target}, test=[0.1, 0.8])
    summary = summarize()
    assert "optim._target_" not in summary
    assert summary.groupby("data")["optim.lr"].agg(list).to_dict() == {"digits": [0.1, 0.1], "mnist": [0.03, 0.03]}
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert runs.groupby("data")["optim.lr"].agg(list).to_dict() == {"digits": [0.01, 0.1] * 2, "mnist": [0.03] * 4}


def test_report_sections_name_data_settings_only_where_needed(write_run: Write, summarize: Report) -> None:
    for data, val_size in (("mnist", 5000), ("digits", 300)):
        write_run(data=data, digest=data * 10, data_config={"val_size": val_size})
    write_run(data="mine", digest="a" * 64, data_config={"images": 300})
    write_run(data="mine", digest="b" * 64, data_config={"images": 600})
    assert summarize()["data"].tolist() == ["digits", "mine, data.images=300", "mine, data.images=600", "mnist"]


def test_compare_keys_without_effect_neither_vary_nor_are_tuned(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1):
        write_run(seed=seed, log_interval=10 * (seed + 1), threads=seed + 1, data_config={"root": f"here{seed}"})
    comparison = compared(tmp_path)
    assert (comparison.varying, comparison.tuned) == (["seed"], [])


def test_load_of_overlapping_directories_counts_run_once(tmp_path: Path, write_run: Write) -> None:
    first = write_run(seed=0)
    write_run(seed=1)
    first.rename(tmp_path / "elsewhere")
    results = load([tmp_path / "sweep", tmp_path / "elsewhere", tmp_path])
    assert len(results.runs) == 2


def set_entries(run: Path, **entries: object) -> Path:
    """Set these entries in the `run.json` of a run, and return the run."""
    (run / RUN_FILE).write_text(json.dumps(json.loads((run / RUN_FILE).read_text()) | entries))
    return run


@pytest.mark.parametrize("key", ["model._target_", "data._target_", "optim._target_", None])
def test_report_seed_of_another_version_is_no_additional_replicate(
    tmp_path: Path, write_run: Write, summarize: Report, key: str | None
) -> None:
    """Classes have moved, or only the hash differs; the newest result counts."""
    older = []
    for version, (where, year, better) in enumerate((("mnist_mlp.a", 2025, 0.1), ("mnist_mlp.network.a", 2026, 0.0))):
        group = key.partition(".")[0] if key else "model"
        config = {group if group == "model" else f"{group}_config": {"_target_": where if key else "one"}}
        for seed in (0, 1, 2):
            for init in ("he", "lecun"):
                run = write_run(
                    init, seed=seed, test=[0.1, 0.8 + better + seed / 100], log_interval=version + 1, **config
                )
                older += [set_entries(run, ended=f"{year}-01-01T00:00:00+00:00")] if year == 2025 else []
                set_entries(run, ended=f"{year}-01-01T00:00:00+00:00")
    summary = summarize()
    assert summary["n"].tolist() == [3, 3]
    assert summary["score"].tolist() == pytest.approx([0.81] * 2)
    assert len(pd.read_csv(tmp_path / "report" / "runs.csv")) == 6
    results, (comparison,) = (found := report.compare_sweeps([tmp_path / "sweep"]))[0], found[1].values()
    assert comparison.tuned == []
    left_out = {problem.run: problem.why for problem in results.problems}
    assert set(left_out) == set(map(str, older))
    assert all(why.startswith("not used: it has the same configuration and replicate as ") for why in left_out.values())


def test_report_result_of_another_version_precedes_failure(write_run: Write, summarize: Report) -> None:
    set_entries(write_run(log_interval=1), ended="2025-01-01T00:00:00+00:00")
    failed = write_run(log_interval=2, status="failed", reason="no", digest=None)
    set_entries(failed, ended="2026-01-01T00:00:00+00:00")
    (row,) = summarize().to_dict("records")
    assert (row["n"], row["failed"]) == (1, 0)


def test_compare_moved_code_is_neither_tuned_nor_a_section(tmp_path: Path, write_run: Write, summarize: Report) -> None:
    for seed in range(4):
        where = f"mnist_mlp.{'network.' if seed > 1 else ''}MLP"
        write_run(seed=seed, model={"_target_": where}, data_config={"_target_": "one"})
    assert summarize()["n"].tolist() == [4]
    found = compared(tmp_path)
    assert found.tuned == []
    assert {note.topic: note.text for note in found.notes} == {
        "One option, several targets": "model=mlp was mnist_mlp.MLP, mnist_mlp.network.MLP; --by model._target_ "
        "compares them."
    }
    assert summarize(by=["model._target_"])["n"].tolist() == [2, 2]


def test_report_by_target_compares_code_of_one_option(write_run: Write, summarize: Report) -> None:
    for target, accuracy in (("one.Net", 0.9), ("other.Net", 0.8)):
        for seed in (0, 1, 2):
            write_run(seed=seed, test=[0.1, accuracy], model={"_target_": target})
    assert summarize(by=["model._target_"])["n"].tolist() == [3, 3]
    assert summarize()["n"].tolist() == [3]


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([("a / b", "c"), ("a", "b / c")], ['"a / b" / c', 'a / "b / c"']),
        ([("a /", "b"), ("a", "/ b")], ['"a /" / b', 'a / "/ b"']),
        ([('"a / b"', "c"), ("a / b", "c")], ['"\\"a / b\\"" / c', '"a / b" / c']),
        ([("he/normal", "c"), ("he", "normal/c")], ["he/normal / c", "he / normal/c"]),
    ],
)
def test_compare_cell_names_are_unique(
    tmp_path: Path, write_run: Write, cells: list[tuple[str, str]], names: list[str]
) -> None:
    for number, (init, optim) in enumerate(cells):
        for seed in (0, 1, 2):
            write_run(init, optim, seed, test=[0.1, 0.9 - number / 10], log_interval=number + 1)
    assert compared(tmp_path).summary["cell"].tolist() == names


def test_compare_values_of_different_types_are_distinct(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    values = (1, "1", True, "true", None, "null", 0.5, "0.5", "nan")
    for number, value in enumerate(values):
        for seed in (0, 1, 2):
            write_run(seed=seed, test=[0.1, 0.9 - number / 100], log_interval=number + 1, model={"own": value})
            if value == 1 and value is not True:
                write_run(seed=seed + 3, test=[0.1, 0.9], model={"own": 1.0})  # equal to 1
    assert summarize(by=["model.own"])["n"].tolist() == [6, *[3] * 8]
    typed = ("1", "'1'", "true", "'true'", "null", "'null'", "0.5", "'0.5'", "nan")
    assert compared(tmp_path, by=["model.own"]).summary["cell"].tolist() == [f"model.own={value}" for value in typed]


def test_report_epochs_to_target_count_misses_as_infinite(write_run: Write, summarize: Report) -> None:
    write_run(seed=0, test=[0.1, 0.9])
    write_run(seed=1, test=[0.1], epochs=1, status="diverged", reason="nan")
    write_run(seed=2, test=[0.1], epochs=1, status="diverged", reason="nan")
    (row,) = summarize(target=0.5).to_dict("records")
    assert (row["epochs_to_target"], row["reached_target"], row["n"]) == (math.inf, 1, 1)


def test_compare_sensitivity_uses_best_of_other_tuned_keys(tmp_path: Path, write_run: Write) -> None:
    for lr in (0.1, 0.01):
        for batch in (32, 64):
            write_run(lr=lr, batch_size=batch, test=[0.1, 0.5 + lr + batch / 1000], val=[0.1, 0.5 + lr + batch / 1000])
    sensitivity = compared(tmp_path).sensitivity
    assert sensitivity["accuracy_mean"].tolist() == pytest.approx([0.574, 0.664])


def test_compare_sensitivity_counts_divergence_as_zero(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1):
        write_run(lr=0.01, seed=seed, test=[0.1, 0.5], val=[0.1, 0.5])
    write_run(lr=0.1, seed=0, test=[0.1, 0.9], val=[0.1, 0.9])
    write_run(lr=0.1, seed=1, test=[0.1, 0.9], val=[0.1, 0.9], status="diverged", reason="nan")
    sensitivity = compared(tmp_path).sensitivity
    assert sensitivity["accuracy_mean"].tolist() == pytest.approx([0.5, 0.45])
    assert sensitivity[["n", "diverged"]].to_numpy().tolist() == [[2, 0], [2, 1]]


def test_compare_early_divergence_keeps_selection_by_validation(tmp_path: Path, write_run: Write) -> None:
    for seed in range(3):  # the larger rate overfits: better on training, worse on validation
        write_run(seed=seed, lr=0.1, test=[0.1, 0.8], val=[0.1, 0.7], train=[0.1, 0.99])
        write_run(seed=seed, lr=0.01, test=[0.1, 0.9], val=[0.1, 0.9], train=[0.1, 0.9])
    early = write_run(seed=0, lr=1.0, test=[0.1, 0.1], status="diverged", reason="the train loss is nan after epoch 0")
    header, first, *_ = (early / METRICS_FILE).read_text().splitlines()
    assert first.startswith("0,0,train")
    (early / METRICS_FILE).write_text(f"{header}\n{first}\n")
    found = compared(tmp_path)
    assert found.summary["optim.lr"].tolist() == [0.01]
    assert "No validation split" not in notes(tmp_path)


@pytest.mark.parametrize("status", ["diverged", "failed"])
@pytest.mark.parametrize(("val_size", "split"), [(250, "validation"), (0, "training"), ("many", "training")])
def test_compare_runs_that_ended_early_select_by_configured_split(
    tmp_path: Path, write_run: Write, status: str, val_size: Any, split: str
) -> None:
    for lr in (0.1, 0.01):
        write_run(lr=lr, test=[0.1], val=[], status=status, reason="nan", data_config={"val_size": val_size})
    found = compared(tmp_path)
    assert any(f"the highest {split} accuracy" in line for line in method(found))
    assert timed_split(found) == ("validation" if val_size == 250 else "test")
    assert ("No validation split" in notes(tmp_path)) is (split == "training")


def test_compare_completed_run_without_validation_selects_by_training(tmp_path: Path, write_run: Write) -> None:
    for lr, more in ((0.1, {}), (0.01, {"status": "diverged", "reason": "nan"})):
        write_run(lr=lr, val=[], data_config={"val_size": 250}, **more)  # as with a user-defined data set
    assert "No validation split" in notes(tmp_path)
