"""Sentences of a report: training, intervals, effects, targets and verdicts."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mnist_mlp.analysis.comparison import Comparison, compare
from mnist_mlp.analysis.load import load
from mnist_mlp.analysis.sections import sections
from mnist_mlp.base.choices import Candidate, Selection, write_choices
from mnist_mlp.base.interim import SequentialPlan, SequentialRecord
from mnist_mlp.report import compare_sweeps as report_compared
from mnist_mlp.report.tables import effects, leaderboard
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.captions import undrawn
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.numbers import probability
from mnist_mlp.report.text.training import trained
from mnist_mlp.report.text.units import in_points
from mnist_mlp.stats.verdicts import Reason, Verdict
from tests.helpers.runs import Report, Write

MEASURES = ["test_accuracy", "test_loss"]

FACTS = {"train": 55000, "val": 5000, "test": 10000, "inputs": 784, "classes": 10}
MODEL = {
    "_target_": "mnist_mlp.network.MLP",
    "hidden": [512, 256],
    "activation": "relu",
    "batch_norm": True,
    "dropout": 0.5,
}
NETWORK = "MLP with 784 inputs, 2 hidden layers (512, 256) and 10 outputs"
SAID = f"trained on 55,000 images of mnist for 2 epochs ({NETWORK}, BatchNorm, ReLU, dropout 0.5; batch size 32)"


def compared(tmp_path: Path, target: float = 0.97, by: tuple[str, ...] = ("init", "optim")) -> Comparison:
    return compare(load([tmp_path / "sweep"]), target, by)


def test_report_page_markdown_and_latex_describe_the_training(tmp_path: Path, write_run: Write, report: Report) -> None:
    for optim, worse in (("adam", 0.0), ("sgd", 0.1)):
        for seed in (0, 1, 2):
            accuracies = [0.1, 0.5, 0.9 - worse + seed / 100]
            write_run(optim=optim, seed=seed, test=accuracies, data_facts=FACTS, model=MODEL, batch_size=32)
    report(target=0.6)
    first, *_, last = answer(compared(tmp_path))
    assert first.startswith("he / adam scored highest: 91.00 [88.52, 93.48]% test accuracy (n = 3)")
    assert last == f"T{SAID[1:]}."
    page, markdown, latex = (
        (tmp_path / "report" / name).read_text() for name in ("index.html", "report.md", "summary.tex")
    )
    figures = len(list((tmp_path / "report" / "figures").glob("*.png")))
    assert page.count(SAID[1:]) == 1 + figures
    assert markdown.count(SAID[1:]) == 1 + figures
    assert SAID[1:] in latex.partition("caption")[2].splitlines()[0]
    assert "The 10,000 test images are a sample, too" in markdown


@pytest.mark.parametrize(
    ("change", "by", "said"),
    [
        ({}, (), SAID),
        ({"batch_size": 64}, (), f"({NETWORK}, BatchNorm, ReLU, dropout 0.5; tuned: batch_size)"),
        (
            {"batch_size": 64},
            ("batch_size",),
            f"({NETWORK}, BatchNorm, ReLU, dropout 0.5; compared: batch_size)",
        ),
        (
            {"model": MODEL | {"activation": "gelu"}},
            (),
            "outputs, BatchNorm, dropout 0.5; batch size 32; tuned: model.activat",
        ),
        ({"test": [0.1, 0.9]}, ("epochs",), "trained on 55,000 images of mnist (MLP with 784"),
        ({"data_facts": {}}, (), SAID),
        (
            {"data_facts": FACTS | {"train": 100}, "data_config": {"train_size": 100}},
            ("data.train_size",),
            "on mnist for",
        ),
        ({"optim": "sgd", "init": "lecun", "batch_size": 64}, (), "not the same in all runs: batch_size"),
    ],
)
def test_trained_with_differing_keys_lists_them_without_values(
    tmp_path: Path, write_run: Write, change: dict[str, Any], by: tuple[str, ...], said: str
) -> None:
    usual = {"data_facts": FACTS, "model": MODEL, "batch_size": 32}
    write_run(**usual)
    write_run(**usual | {"seed": 1} | change)
    assert said in trained(compared(tmp_path, by=("init", "optim", *by)))


@pytest.mark.parametrize(
    ("model", "facts", "said"),
    [
        (MODEL | {"hidden": []}, FACTS, "(MLP with 784 inputs, no hidden layer and 10 outputs)"),
        (MODEL | {"hidden": [], "input_dropout": 0.2}, FACTS, "no hidden layer and 10 outputs, input dropout 0.2)"),
        (MODEL | {"input_dropout": 0.0}, FACTS, f"({NETWORK}, BatchNorm, ReLU, dropout 0.5)"),
        (
            MODEL | {"hidden": [64, 64]},
            FACTS | {"inputs": 64},
            "64 inputs, 2 hidden layers of 64 units and 10 outputs, B",
        ),
        (
            MODEL | {"hidden": [10]},
            FACTS | {"inputs": 10},
            "10 inputs, 1 hidden layer of 10 units and 10 outputs, Batc",
        ),
        (
            MODEL | {"hidden": [1]},
            FACTS | {"inputs": 1, "classes": 1},
            "1 input, 1 hidden layer of 1 unit and 1 output, ",
        ),
        (MODEL | {"dropout": 0.0, "batch_norm": False, "activation": "tanh"}, FACTS, f"({NETWORK}, tanh)"),
        (
            MODEL,
            {},
            "trained on mnist for 2 epochs (MLP with 2 hidden layers (512, 256), BatchNorm, ReLU, dropout 0.5)",
        ),
        *(
            (MODEL | {"hidden": damaged}, FACTS, "(MLP with 784 inputs and 10 outputs, BatchNorm, ReLU, dropout 0.5)")
            for damaged in (True, "", ["a"])
        ),
        ({"_target_": "mine.Convolutions", "width": 3}, FACTS, "(mine.Convolutions)"),
        ({}, {}, "trained on mnist for 2 epochs"),
    ],
)
def test_trained_describes_networks(
    tmp_path: Path, write_run: Write, model: dict[str, Any], facts: dict[str, Any], said: str
) -> None:
    write_run(model=model, data_facts=facts)
    assert said in trained(compared(tmp_path))


@pytest.mark.parametrize(
    ("warmup", "epochs", "said"),  # an epoch has ten steps
    [
        (0.1, 2, "(warm-up over 10% of the steps)"),
        (0.001, 2, "(no warm-up, as 0.1% of the steps is less than two steps)"),
        (0.07, 2, "(no warm-up, as 7% of the steps is less than two steps)"),  # a step at the full rate
        (1.0, 0, "(no warm-up, as 100% of the steps is less than two steps)"),
        (0.0, 2, "2 epochs"),
    ],
)
def test_trained_with_warmup_below_two_steps_says_no_warmup(
    tmp_path: Path, write_run: Write, warmup: float, epochs: int, said: str
) -> None:
    write_run(schedule={"warmup": warmup}, test=[0.1, 0.5, 0.9][: epochs + 1])
    assert trained(compared(tmp_path)).endswith(said)


def test_trained_with_warmup_in_some_runs_says_so(tmp_path: Path, write_run: Write) -> None:
    for epochs in (2, 9):
        write_run(schedule={"warmup": 0.05}, test=[0.1] * (epochs + 1))
    assert "warm-up over 5% of the steps, in some runs" in trained(compared(tmp_path, by=("epochs",)))
    write_run(seed=1, schedule={"warmup": 0.05}, test=[0.1] * 2, status="diverged", reason="nan", epochs=9)
    assert "in some runs" in trained(compared(tmp_path, by=("epochs",)))


def test_leaderboard_with_diverged_runs_shows_intervals_and_counts(tmp_path: Path, write_run: Write) -> None:
    for seed, accuracy in enumerate((0.99, 1.0, 0.9)):
        write_run(optim="nan", seed=seed, test=[0.1, accuracy])
        write_run(seed=seed, test=[0.1, 0.5], status="completed" if seed else "diverged")
    first, second = leaderboard(compared(tmp_path)).to_dict("records")
    assert (first["optim"], first["test accuracy (%)"]) == ("nan", "96.33 [82.65, 100.00]")
    assert (second["score (%)"], second["test accuracy (%)"]) == ("33.33", "50.00")  # no interval without noise


def test_answer_with_diverged_runs_counts_them(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1, 2, 3):
        write_run(seed=seed, test=[0.1, 0.8], status="completed" if seed else "diverged")
    assert (
        "he / adam reached 60.00% test accuracy over 4 runs, of which 1 diverged and counts as 0; "
        "the rest reached 80.00%"
    ) in answer(compared(tmp_path))[0]


def test_answer_with_missed_target_suggests_one_without_figure(
    tmp_path: Path, write_run: Write, report: Report
) -> None:
    for optim, most in (("adam", 0.93129), ("sgd", 0.91), ("nag", 0.5)):
        write_run(optim=optim, test=[0.1, 0.2, 0.3], val=[0.1, most, most - 0.1])
    report()
    assert answer(compared(tmp_path))[-2] == (
        "No run reached 97% validation accuracy; the best reached 93.12%: --target 0.9 would compare times."
    )
    assert not list((tmp_path / "report" / "figures").glob("time_to_target*"))
    report(target=0.9)
    assert (tmp_path / "report" / "figures" / "time_to_target.png").exists()


@pytest.mark.parametrize(
    ("data", "loader", "target"),
    [
        ("mnist", None, 0.97),
        ("mnist", "mnist_mlp.data.mnist", 0.97),
        ("mine", "mnist_mlp.data.datasets.mnist", 0.97),  # another option with the same images
        ("digits", "mnist_mlp.data.digits", None),
        ("fashion_mnist", "mnist_mlp.data.fashion_mnist", None),
        ("fashion_mnist", None, None),
        ("mnist", "mine.mnist", None),  # other images of the same name
    ],
)
def test_default_target_exists_for_mnist_only(
    tmp_path: Path, write_run: Write, data: str, loader: str | None, target: float | None
) -> None:
    write_run(data=data, data_config={"_target_": loader} if loader else {})
    (section,) = report_compared([tmp_path / "sweep"])[1].values()
    assert section.target == target
    (section,) = report_compared([tmp_path / "sweep"], target=0.5)[1].values()
    assert section.target == 0.5


def test_report_without_target_suggests_one_and_has_no_times(
    tmp_path: Path, write_run: Write, summarize: Report
) -> None:
    for data, digest in (("digits", "d"), ("mnist", "m")):
        for optim, most in (("adam", 0.98), ("sgd", 0.92)):
            write_run(optim=optim, data=data, digest=digest * 64, val=[0.1, 0.2, most])
        lost: dict[str, Any] = {"test": [0.1], "val": [0.1], "status": "diverged", "reason": "nan", "epochs": 2}
        write_run(optim="nag", data=data, digest=digest * 64, **lost)
    of = dict(iter(summarize().groupby("data")))
    for column in ("epochs_to_target", "seconds_to_target", "reached_target"):
        assert of["digits"][column].isna().all()
    assert of["mnist"].set_index("optim")["reached_target"].to_dict() == {"adam": 1, "sgd": 0, "nag": 0}
    assert ",1," in (tmp_path / "report" / "summary.csv").read_text()  # a whole number beside gaps
    digits, mnist = report_compared([tmp_path / "sweep"])[1].values()
    assert answer(digits)[-2] == "No target accuracy is set for this data set: --target 0.9 would compare times."
    assert answer(mnist)[-2].startswith("Fastest to 97% validation accuracy: he / adam")
    assert "epochs to target" not in leaderboard(digits)
    assert not any("target" in line for line in method(digits))
    runs = dict(iter(pd.read_csv(tmp_path / "report" / "runs.csv").groupby("data")))
    assert runs["digits"]["epochs_to_target"].isna().all()
    assert sorted(runs["mnist"]["epochs_to_target"]) == [2, np.inf, np.inf]


def test_report_without_reachable_target_does_not_mention_one(tmp_path: Path, write_run: Write) -> None:
    write_run(data="digits", val=[0.1, 0.1, 0.15])
    (section,) = report_compared([tmp_path / "sweep"])[1].values()
    assert not any("target" in line for line in answer(section))
    write_run(data="digits", seed=1, val=[0.1, 0.1, 0.9])
    write_run(data="digits", optim="sgd", status="failed", reason="no")
    (section,) = report_compared([tmp_path / "sweep"])[1].values()
    assert not any("target" in line for line in answer(section))  # of two runs, the lower one counts


def test_answer_suggests_a_target_that_two_cells_reach(tmp_path: Path, write_run: Write) -> None:
    for optim, most in (("adam", 0.96), ("sgd", 0.69)):
        write_run(optim=optim, val=[0.1, 0.2, most])
    assert answer(compared(tmp_path))[-2].endswith("the best reached 96%: --target 0.6 would compare times.")


def test_time_to_target_uses_one_split_for_all_runs(tmp_path: Path, write_run: Write) -> None:
    """If some runs have no validation images, the test images time all runs."""
    write_run(test=[0.1, 0.5, 0.9], val=[0.1, 0.98, 0.98])
    write_run(optim="sgd", test=[0.1, 0.98, 0.98], val=[])
    assert answer(compared(tmp_path))[-2].startswith("Fastest to 97% test accuracy: he / sgd, in 1 epoch")


def test_answer_with_best_cell_at_chance_says_so(tmp_path: Path, write_run: Write) -> None:
    facts = {"test": 10_000, "commonest_test_share": 0.1135}
    for seed in (0, 1, 2):
        write_run(seed=seed, test=[0.1, 0.1135 + seed / 1e4], data_facts=facts)
        write_run(optim="sgd", seed=seed, test=[0.1, 0.1], status="diverged", data_facts=facts)
    assert (
        "(n = 3), which is not shown to be better than always naming the commonest class"
        in answer(compared(tmp_path))[0]
    )


def test_report_with_ties_in_the_selection_names_them(tmp_path: Path, write_run: Write) -> None:
    def ties(how: str) -> str:
        comparison = compare(load([tmp_path / "sweep"]), 0.97, how=how)
        return " ".join(note.text for note in comparison.notes if note.topic == "Ties in the selection")

    for seed, accuracy in enumerate((0.8, 0.9, 0.7)):
        write_run(seed=seed, lr=0.1, val=[0.1, 0.2, accuracy])
        write_run(seed=(seed + 1) % 3, lr=0.01, val=[0.1, 0.2, accuracy])  # the same mean, summed in another order
    assert ties("once").startswith("in he / adam, several configurations tie for the best accuracy")
    assert ties("each") == ""  # no ties within a seed
    write_run(seed=3, lr=0.1)
    write_run(seed=3, lr=0.01)
    assert ties("each").startswith("in he / adam (1 of 4 seeds), several configurations tie for the best accuracy")


def test_answer_with_diverged_run_counts_it_as_target_missed(tmp_path: Path, write_run: Write) -> None:
    write_run(test=[0.1, 0.9], val=[0.1, 0.9])
    write_run(seed=1, test=[0.1, 0.99], val=[0.1, 0.99], status="diverged")
    assert answer(compared(tmp_path))[-2].startswith(
        "No completed run reached 97% validation accuracy; the best reached 90%"
    )


def test_answer_on_target_names_the_scored_runs_only(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1, 2):
        write_run(seed=seed, lr=0.1, test=[0.1, 0.5, 0.8], val=[0.1, 0.98, 0.8])
        write_run(seed=seed, lr=0.01, test=[0.1, 0.5, 0.9], val=[0.1, 0.5, 0.9 + seed / 50])
    assert answer(compared(tmp_path))[-2] == (
        "No run at the selected configurations reached 97% validation accuracy; the best reached 94%: --target 0.9 "
        "would give times."
    )
    said = answer(compared(tmp_path, target=0.93))[-2]
    assert (
        said
        == "In no cell did more than half of the runs at the selected configurations reach 93% validation accuracy."
    )


def test_answer_with_level_cells_says_level(tmp_path: Path, write_run: Write) -> None:
    for optim in ("adam", "sgd"):
        for seed in (0, 1, 2):
            write_run(optim=optim, seed=seed, test=[0.1, 0.9 + (seed + (optim == "sgd")) % 3 / 100])
    assert "he / adam scored highest (as high as he / sgd): 91.00" in answer(compared(tmp_path))[0]


def test_report_with_the_suggested_target_has_times(tmp_path: Path, write_run: Write) -> None:
    for optim in ("adam", "sgd"):
        for seed, final in ((0, 0.95), (1, 0.86)):
            write_run(optim=optim, seed=seed, test=[0.1, final], val=[0.1, final])
    assert answer(compared(tmp_path))[-2].endswith("the best reached 95%: --target 0.85 would compare times.")
    assert answer(compared(tmp_path, target=0.85))[-2].startswith("Fastest to 85% validation accuracy: he / adam")


def test_answer_counts_cells_without_result(tmp_path: Path, write_run: Write) -> None:
    write_cells(write_run, adam={0: 0.9, 1: 0.91, 2: 0.92}, sgd={0: 0.8, 1: 0.81, 2: 0.83})
    write_run(optim="nag", status="failed", reason="no", test=[0.1, 0.1])
    said = answer(compared(tmp_path))[0]
    assert "better than the other cell; " in said
    assert said.endswith(" 1 more cell has no result.")


def test_answer_leaves_out_a_tuned_key_that_the_option_lacks(tmp_path: Path, write_run: Write) -> None:
    for value in (0.1, 0.01):
        write_run(optim="adam", lr=value, test=[0.1, 0.9 - value])
        write_run(optim="sgd", optim_config={"momentum": value}, test=[0.1, 0.7 - value], log_interval=int(1 / value))
        momentum = {"momentum": value / 2}
        write_run("lecun", "sgd", optim_config=momentum, test=[0.1, 0.7 - value], log_interval=int(1 / value))
    comparison = compared(tmp_path)
    assert answer(comparison)[-1].endswith("Configuration of he / adam: the best of 2 runs: optim.lr=0.01.")
    assert leaderboard(comparison)["optim.momentum"].tolist() == ["", "0.01", "0.005"]
    (said,) = (line for line in method(comparison) if line.startswith("optim.momentum"))
    assert "selected in each cell that has it among its own values (he / sgd: 0.01, 0.1, lecun / sgd: 0.0" in said


def test_answer_beginning_with_a_key_keeps_its_case(tmp_path: Path, write_run: Write) -> None:
    for hidden in ([8], [64]):
        for optim in ("adam", "sgd"):
            for seed in (0, 1, 2):
                final = 0.8 + (len(str(hidden)) - 3) / 10 + seed / 1000 * (1 + (optim == "sgd"))
                write_run(optim=optim, seed=seed, model={"hidden": hidden}, test=[0.1, final], data_facts=FACTS)
    said = answer(compared(tmp_path, by=("model.hidden", "optim")))[3]
    assert said.startswith("model.hidden: significant on average (p ")


def test_answer_with_effect_without_noise_says_not_tested(tmp_path: Path, write_run: Write) -> None:
    """Test sets of unknown size, whose images would otherwise be the noise of the effects."""
    for init, optim in product(("he", "lecun"), ("adam", "sgd")):
        for seed in (0, 1, 2):
            final = 0.8 + (init == "he") / 10 + seed / 1000 * (1 + (optim == "sgd"))
            write_run(init, optim, seed, test=[0.1, final])
    comparison = compared(tmp_path)
    said = answer(comparison)[3]
    assert said.startswith("Initialization: not tested, as its values are 10.00 points apart in every seed.")
    assert effects(comparison)["corrected p"].tolist()[0] == ""
    assert "Single pairs" not in said  # pairs differ by exactly the untested effect


def test_answer_with_interaction_without_noise_says_not_tested(tmp_path: Path, write_run: Write) -> None:
    for init, optim in product(("he", "lecun"), ("adam", "sgd")):
        for seed in (0, 1, 2):
            write_run(init, optim, seed, test=[0.1, 0.8 + ((init == "he") == (optim == "sgd")) / 10 + seed / 1000])
    assert "Initialization × optimizer: not tested, as it is the same in every seed." in answer(compared(tmp_path))


def test_answer_with_withheld_pairs_says_not_tested(tmp_path: Path, write_run: Write) -> None:
    write_cells(write_run, adam={0: 0.9, 1: 0.91, 2: 0.92}, sgd={0: 0.8, 1: 0.81, 2: 0.83})
    assert any(line.startswith("Pairs: ") for line in method(compared(tmp_path)))
    runs = [next((tmp_path / "sweep").glob(f"*-adam-0-01-{seed}-*")).name for seed in (0, 1, 2)]
    searched = Candidate(configuration={}, accuracy=0.9, loss=0.1, jobs=runs)
    selection = Selection(configuration={}, candidates=[searched], confirmed={})
    write_choices(tmp_path / "sweep", {"he / adam": {"all": selection}})
    comparison = compared(tmp_path)
    assert comparison.pairs["p"].isna().all()
    assert not any(line.startswith("Pairs: ") for line in method(comparison))


def test_answer_with_unequal_tuning_says_not_tested(tmp_path: Path, write_run: Write) -> None:
    write_cells(write_run, adam={0: 0.9, 1: 0.91, 2: 0.92}, sgd={0: 0.8, 1: 0.81, 2: 0.83})
    for seed in (0, 1, 2):
        write_run(optim="adam", lr=0.1, seed=seed, test=[0.1, 0.5])
    assert any(line.startswith("Pairs: ") for line in method(compared(tmp_path)))
    once = compare(load([tmp_path / "sweep"]), 0.97, how="once")
    assert once.pairs["reason"].tolist() == ["unequal tuning"]
    assert not any(line.startswith("Pairs: ") for line in method(once))


def test_sections_by_argument_of_user_data_compare_its_values(tmp_path: Path, write_run: Write) -> None:
    for own, accuracy in ((1, 0.9), (2, 0.8)):
        for seed in (0, 1, 2):
            last = accuracy + seed % 2 / 1000
            write_run(seed=seed, test=[0.1, last], digest=str(own) * 64, data_config={"own": own}, data_facts=FACTS)
    (section,) = sections(load([tmp_path / "sweep"]), ("data.own",)).values()
    assert compare(section, 0.97, ("data.own",)).pairs["n"].tolist() == [3]
    assert len(sections(load([tmp_path / "sweep"]), ("init",))) == 2


def test_answer_without_validation_names_the_best_of_the_test_curve(tmp_path: Path, write_run: Write) -> None:
    write_run(test=[0.1, 0.15, 0.12], val=[])
    assert answer(compared(tmp_path))[-2] == "No run reached 97% test accuracy; the best reached 15%."


def write_cells(write_run: Write, **cells: dict[int, float]) -> None:
    """Write runs of optimizers with the given final accuracies by seed."""
    for optim, finals in cells.items():
        for seed, final in finals.items():
            write_run(optim=optim, seed=seed, test=[0.1, final])


def test_answer_with_rival_ahead_over_shared_seeds_says_ahead(tmp_path: Path, write_run: Write) -> None:
    best = dict(enumerate((0.950, 0.951, 0.949, 0.960, 0.961, 0.962)))
    write_cells(write_run, adam=best, sgd={0: 0.953, 1: 0.951, 2: 0.951})
    comparison = compared(tmp_path)
    assert comparison.pairs["difference"].tolist() == pytest.approx([-0.005 / 3])
    said = answer(comparison)[0]
    assert "the other cell is inconclusive; he / sgd is 0.17 points ahead over the 3 seeds that" in said
    assert "behind" not in said
    write_cells(write_run, nag={seed: 0.5 + seed / 1000 for seed in best})  # significantly worse
    said = answer(compared(tmp_path))[0]
    assert "better than 1 of 2 other cells; the comparison with he / sgd is inconclusive (0.17 points ahead " in said


def test_answer_with_equal_scores_names_the_ties(tmp_path: Path, write_run: Write) -> None:
    write_cells(write_run, adam={0: 0.9, 1: 0.8, 2: 0.7}, sgd={0: 0.8, 1: 0.7, 2: 0.7}, nag={0: 0.8, 1: 0.9, 2: 0.7})
    said = answer(compared(tmp_path))[0]
    assert "every other cell is inconclusive; the next, he / " in said
    assert " is level with it: more than 1,000 seeds" in said


def test_answer_counts_only_tested_cells_as_inconclusive(tmp_path: Path, write_run: Write) -> None:
    adam = {seed: 0.95 + (seed % 3) / 1000 for seed in range(6)}
    write_cells(write_run, adam=adam, nag={4: 0.951, 5: 0.950}, sgd={0: 0.951, 1: 0.948, 2: 0.949, 3: 0.950})
    said = answer(compared(tmp_path))[0]
    assert "with the one other cell that was tested is inconclusive; he / sgd is 0." in said
    assert said.endswith(" (1 more not tested: fewer than 3 seeds in common).")
    write_cells(write_run, rmsprop={0: 0.948, 1: 0.949, 2: 0.946})
    said = answer(compared(tmp_path))[0]
    assert "with both other cells that were tested is inconclusive; the next of them, he / sgd, is " in said


def test_method_counts_the_paired_cells(tmp_path: Path, write_run: Write) -> None:
    write_cells(
        write_run, adam=dict.fromkeys(range(6), 0.9), nag={0: 0.8, 1: 0.8, 2: 0.8}, sgd={3: 0.8, 4: 0.8, 5: 0.8}
    )
    (said,) = (line for line in method(compared(tmp_path)) if line.startswith("Pairs"))
    assert "of those pairs of cells that share at least three seeds (3 cells), with" in said


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (["diverged", "diverged"], "2 diverged and count as 0, so no cell is better than another."),
        (["diverged", "failed"], "1 diverged and counts as 0, 1 failed, so no cell is better than another."),
        (["failed", "failed"], "2 failed, so there is nothing to compare."),
    ],
)
def test_answer_without_completed_run_agrees_with_verdicts(
    tmp_path: Path, write_run: Write, ends: list[str], said: str
) -> None:
    for status, optim in zip(ends, ("adam", "sgd"), strict=True):
        write_run(optim=optim, test=[0.1], epochs=2, status=status, reason="no")
    assert answer(compared(tmp_path))[0] == f"No run was completed: {said}"


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0496, "= 0.0496"),  # not 0.050, which is not below the level
        (0.0504, "= 0.0504"),
        (0.049996, "= 0.049996"),
        (0.0494, "= 0.049"),
        (0.0506, "= 0.051"),
        (0.0009, "< 0.001"),
        (0.001, "= 0.001"),
        (0.0999, "= 0.100"),
        (0.346, "= 0.35"),
        (1.0, "= 1.00"),
    ],
)
def test_p_value_near_the_level_shows_its_side(p: float, said: str) -> None:
    assert probability(p) == said


NO_PAIR = "No single pair of cells is significantly different, which is no contradiction"
PAIRS = "Single pairs of cells do differ significantly, which is no contradiction"


@pytest.mark.parametrize(
    ("p", "verdict", "explained"),
    [
        (0.006, Verdict.INCONCLUSIVE, [NO_PAIR]),
        (0.006, Verdict.NOT_TESTED, [NO_PAIR]),
        (0.5, Verdict.INCONCLUSIVE, []),
        (0.006, Verdict.BETTER, []),
        (0.5, Verdict.BETTER, [PAIRS]),
    ],
)
def test_answer_with_effects_and_pairs_that_disagree_explains_why(
    tmp_path: Path, write_run: Write, p: float, verdict: Verdict, explained: list[str]
) -> None:
    for optim in ("adam", "sgd"):
        for init in ("he", "lecun"):
            for seed in (0, 1, 2):
                write_run(init, optim, seed, test=[0.1, 0.9 + seed / 100 + (optim == "adam") * seed / 1000])
    found = compared(tmp_path)
    assert len(found.effects.table) == 3
    assert "Each of the 3 effects is tested at 5% separately" in " ".join(method(found))
    effects = found.effects._replace(table=found.effects.table.assign(p=p))
    pairs = found.pairs.assign(verdict=verdict, reason=Reason.TOO_FEW_SEEDS)
    changed = replace(found, effects=effects, pairs=pairs)
    assert [words for words in (NO_PAIR, PAIRS) if words in " ".join(answer(changed))] == explained


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (
            (Verdict.EQUIVALENT, Verdict.BETTER),
            ". It is better than 1 of 2 other cells, and equivalent within 0.5 points to he / nag (n = 1).",
        ),
        (
            (Verdict.EQUIVALENT,) * 2,
            ". It is equivalent within 0.5 points to he / nag (n = 1), he / sgd (n = 1).",
        ),
        ((Verdict.NOT_TESTED,) * 2, ", but no difference was tested: unequal tuning effort; tune both alike."),
        (
            (Verdict.NOT_TESTED, Verdict.BETTER),
            "better than 1 other cell (1 more not tested: unequal tuning effort; tune both alike); the closest is ",
        ),
        (
            (Verdict.INCONCLUSIVE, Verdict.BETTER),
            ". It is better than 1 of 2 other cells; the comparison with he / nag is inconclusive (10.00 points behind",
        ),
        (
            (Verdict.EQUIVALENT, Verdict.INCONCLUSIVE),
            "equivalent within 0.5 points to he / nag (n = 1); the comparison with he / sgd is inconclusive (20.00",
        ),
        (
            (Verdict.EQUIVALENT, Verdict.NOT_TESTED),
            "to he / nag (n = 1) (1 more not tested: unequal tuning effort; tune both alike).",
        ),
        ((Verdict.WORSE, Verdict.BETTER), ", but over the seeds that they share, he / nag is better: the means"),
        ((Verdict.BETTER,) * 2, ", better than all 2 other cells; the closest is he / nag, 10.00 points behind (corr"),
        (
            (Verdict.INCONCLUSIVE,) * 2,
            ", but the comparison with every other cell is inconclusive; the next, he / nag, is 10.00 points",
        ),
    ],
)
def test_answer_has_a_sentence_for_every_verdict(
    tmp_path: Path, write_run: Write, verdicts: tuple[Verdict, Verdict], said: str
) -> None:
    for optim, accuracy in (("adam", 0.9), ("nag", 0.8), ("sgd", 0.7)):
        write_run(optim=optim, test=[0.1, accuracy])
    comparison = compared(tmp_path)
    first = comparison.pairs.iloc[:2].assign(verdict=verdicts, reason=Reason.UNEQUAL_TUNING, additional_seeds=np.inf)
    plan = SequentialRecord(plan=SequentialPlan(margin=0.005, max_seeds=9, batch=2), given=[0], jobs=[], looks=[])
    changed = replace(comparison, pairs=pd.concat([first, comparison.pairs.iloc[2:]]), looks=plan, margin=0.005)
    if Verdict.EQUIVALENT not in verdicts:
        changed = replace(changed, looks=None)
    assert said in answer(changed)[0]


@pytest.mark.parametrize(
    ("fraction", "said"), [(0.01, "1 point"), (0.02, "2 points"), (0.005, "0.5 points"), (0.07, "7 points")]
)
def test_in_points_of_one_is_singular(fraction: float, said: str) -> None:
    assert in_points(fraction) == said


def test_report_of_single_items_uses_the_singular(tmp_path: Path, write_run: Write) -> None:
    facts = {"test": 10_000, "commonest_test_share": 0.1135}
    write_run(data_facts=facts, test=[0.1, 0.1], environment={"dirty": True})
    write_run(data="digits", status="diverged", reason="nan", digest="e" * 64)
    write_run(data="mine", status="failed", reason="no", digest="f" * 64)
    sections = report_compared([tmp_path / "sweep"])[1].values()
    page = " ".join(
        " ".join([*answer(of), *method(of), *map(str, of.notes), undrawn(of, ["he / adam"])]) for of in sections
    )
    for said in (
        "1 of 1 run diverged (he / adam: 1), 1 of them at the selected configurations, where it counts as 0",
        "1 of 1 run failed and has no result.",
        "1 of 1 completed run is not shown",
        "it stays in the means",
        "1 of 1 run comes from a checkout",
        "not drawn (1 of 1 run; no",
    ):
        assert said in page
    assert not re.search(r"\b1 (completed |other |more )?(run|cell|seed|epoch|point|pair|configuration)s\b", page)


@pytest.mark.parametrize(
    ("how", "more", "said"),
    [
        ("each", {}, " once optim.lr is tuned (p "),
        ("each", {"batch_size": 64}, " once optim.lr and batch_size are tuned (p "),
        ("each", {"batch_size": 64, "model": {"own": 2}}, " once optim.lr, batch_size and model.own are tuned (p "),
        ("once", {"batch_size": 64}, " at the optim.lr and batch_size selected here (p "),
    ],
)
def test_answer_on_effects_names_all_tuned_keys(
    tmp_path: Path, write_run: Write, how: str, more: dict[str, Any], said: str
) -> None:
    usual = {key: {"own": 1} if isinstance(value, dict) else 1 for key, value in more.items()}
    for init, optim, seed in product(("he", "lecun"), ("adam", "sgd"), (0, 1, 2)):
        final = 0.8 + (optim == "adam") / 10 + (seed + (init == "he")) % 3 / 100
        for number in range(1 + len(more)):
            keys = usual | dict(list(more.items())[:number])
            write_run(init, optim, seed, test=[0.1, final - number / 10], lr=0.01 * (number + 1), **keys)
        write_run(init, optim, seed, test=[0.1, 0.5], lr=0.1, **usual)
    comparison = compare(load([tmp_path / "sweep"]), 0.97, how=how)
    assert len(comparison.tuned) == 1 + len(more)
    assert said in answer(comparison)[3]


def test_method_of_unknown_test_set_says_images_are_a_sample(tmp_path: Path, write_run: Write) -> None:
    write_run()
    assert any(line.startswith("The test images are a sample, too") for line in method(compared(tmp_path)))


def test_answer_with_a_newline_in_a_tuned_value_has_one_fact_on_the_training(tmp_path: Path, write_run: Write) -> None:
    for seed, note in product(range(3), ("a\nb", "c")):
        good = note == "a\nb"
        write_run(seed=seed, test=[0.1, 0.9 if good else 0.5], model={"note": note}, log_interval=1 + good)
    first, *_, last = answer(compared(tmp_path))
    assert first.startswith("he / adam reached ")
    assert last.endswith("model.note=a\nb was selected by all 3 seeds.")
    assert last.startswith("Trained on mnist")
