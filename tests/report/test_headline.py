"""Headlines, sentences on all pairs, letters and equivalence margins of reports."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from mnist_mlp.analysis.claims import CELLS, Claim, Claims, Interaction
from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.schema import LEARNING_RATE
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.report import compare_sweeps
from mnist_mlp.report.tables import latex, leaderboard, summary_csv
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.headline import headline
from mnist_mlp.report.text.pairs import all_pairs
from mnist_mlp.report.text.units import OF_ACCURACY
from tests.helpers.runs import Report, Write

INITS, OPTIMS = ("he", "lecun"), ("adadelta", "adam", "sgd")


def write(write_run: Write, inits: Sequence[str] = INITS, spread: float = 1.0) -> None:
    """Write runs in which adadelta is 5 points behind, and nothing else matters."""
    for (i, init), (o, optim), seed in product(enumerate(inits), enumerate(OPTIMS), range(4)):
        noise = (seed * 7 + i * 3 + o * 5) % 4 / 2000 * spread
        facts = {"train": 55_000, "test": 10_000}
        write_run(init, optim, seed, test=[0.1, 0.95 - 0.05 * (o == 0) + noise], data_facts=facts)


def compared(tmp_path: Path, **settings: object) -> Comparison:
    (comparison,) = compare_sweeps([tmp_path / "sweep"], **settings)[1].values()  # type: ignore[arg-type]
    return comparison


def claim(key: str, groups: Sequence[Sequence[str]], gap: float = 0.0, bound: float = math.nan, n: int = 0) -> Claim:
    count = sum(map(len, groups))
    pairs = count * (count - 1) // 2
    strongest = (groups[0][0], groups[-1][-1], 0.0123) if n or len(groups) > 1 else None
    return Claim(key, groups, gap, bound, n or len(groups) - 1, pairs, pairs, strongest)


NOTHING = claim("init", [["he", "lecun"]], bound=0.00241)
BEHIND = claim("optim", [["adam", "sgd"], ["adadelta"]], 0.0039, 0.0021, 2)


@pytest.mark.parametrize(
    ("of", "interactions", "words"),
    [
        (
            [NOTHING, BEHIND],
            [],
            "Without tuning, adadelta falls behind all other optimizers, by about 0.4 percentage points; no two of "
            "the others differ by more than 0.3 points on average. Which initialization one takes changes the accuracy "
            "by at most 0.3 points on average.",
        ),
        (
            [NOTHING, claim("optim", [["adam", "sgd"]], bound=0.0005)],
            [],
            "Without tuning, no difference is certain on average: which initialization one takes changes the accuracy "
            "by at most 0.3 percentage points and which optimizer by at most 0.05 points.",
        ),
        (
            [claim("init", [["lecun"], ["he"]], 0.0128), claim("depth", [["1"], ["2", "4"]], 0.05, 0.02)],
            [],
            "Without tuning, lecun is better than he, by about 1.3 percentage points; depth=1 is better than all other "
            "values of depth, by about 5.0 points; no two of the others differ by more than 2.0 points "
            "on average.",
        ),
        (
            [claim("optim", [["adam", "nag"], ["sgd"], ["adadelta"]], 0.05, 0.002)],
            [],
            "Without tuning, the optimizers differ in this order, the best first: adam or nag, then sgd, then "
            "adadelta; the first and the last by about 5.0 percentage points; no two joined by or differ by more "
            "than 0.2 points on average.",
        ),
        (
            [claim("optim", [["adam", "nag", "sgd"]], bound=0.03, n=1)],
            [],
            "Without tuning, adam is better than sgd, by about 1.2 percentage points; no two differ by more than 3.0 "
            "points on average.",
        ),
        (
            [claim("optim", [["adam", "nag", "sgd"]], bound=0.03, n=2)],
            [],
            "Without tuning, 2 of 3 pairs of optimizers differ, most significantly adam, better than sgd by about 1.2 "
            "percentage points; no two differ by more than 3.0 points on average.",
        ),
        (
            [NOTHING, claim("optim", [["adam", "sgd"]])],
            [Interaction(("init", "optim"), "he minus lecun, with optim=adam rather than sgd", 0.01)],
            "Without tuning, no difference is certain on average: which initialization one takes changes the accuracy "
            "by at most 0.3 percentage points. Whether the optimizer matters was not tested; the effect of the "
            "initialization depends on the optimizer.",
        ),
        (
            [claim("optim", [["adam", "nag"], ["sgd", "adadelta"]], 0.01, 0.002)],
            [],
            "Without tuning, sgd and adadelta fall behind all other optimizers, by about 1.0 percentage points; no "
            "two of one group differ by more than 0.2 points on average.",
        ),
    ],
)
def test_headline_states_claims_with_bounds(
    tmp_path: Path, write_run: Write, of: list[Claim], interactions: list[Interaction], words: str
) -> None:
    write_run()
    assert headline(replace(compared(tmp_path), claims=Claims(of, interactions))) == words


@pytest.mark.parametrize(
    ("tuned", "select", "start"),
    [
        ([LEARNING_RATE], EACH, "Once the learning rate is tuned, lecun"),
        ([LEARNING_RATE], ONCE, "At the learning rates selected here, lecun"),
        (["batch_size"], EACH, "Once each cell is tuned, lecun"),
        (["batch_size", LEARNING_RATE], ONCE, "At the configurations selected here, lecun"),
    ],
)
def test_headline_names_its_condition(
    tmp_path: Path, write_run: Write, tuned: list[str], select: str, start: str
) -> None:
    write_run()
    claims = Claims([claim("init", [["lecun"], ["he"]], 0.01)], [])
    assert headline(replace(compared(tmp_path), tuned=tuned, select=select, claims=claims)).startswith(start)


def test_headline_of_runs_comes_from_effects_and_stands_first(
    tmp_path: Path, write_run: Write, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    write(write_run)
    words = headline(compared(tmp_path))
    assert words.startswith(
        "Without tuning, adadelta falls behind all other optimizers, by about 5.0 percentage points; no two of the "
        "others differ by more than 0."
    )
    assert ". Which initialization one takes changes the accuracy by at most 0." in words
    report()
    assert f'<p class="headline">{words}</p>' in (tmp_path / "report" / "index.html").read_text()
    assert f"**{words}**" in (tmp_path / "report" / "report.md").read_text()
    assert f"\n{words}\n" in capsys.readouterr().out


def test_headline_of_one_key_or_untestable_effects_comes_from_pairs(tmp_path: Path, write_run: Write) -> None:
    write(write_run)
    write_run("xavier", "adam", 0, test=[0.1, 0.95])  # without the other optimizers
    words = headline(compared(tmp_path))
    assert words.startswith("Without tuning, 8 of 15 pairs of cells differ, most significantly")
    alone = headline(compared(tmp_path, where=["init=he"]))
    assert alone.startswith(
        "Without tuning, he / adadelta falls behind all other cells, by about 5.0 percentage points"
    )


def test_headline_of_one_cell_is_empty(tmp_path: Path, write_run: Write) -> None:
    for seed in range(3):
        write_run(seed=seed, test=[0.1, 0.9 + seed / 100])
    assert headline(compared(tmp_path)) == ""
    assert all_pairs(compared(tmp_path)) == ""
    assert set(compared(tmp_path).summary["letters"]) == {""}


def test_headline_of_diverged_runs_is_empty(tmp_path: Path, write_run: Write) -> None:
    facts = {"train": 55_000, "test": 10_000}
    for init, optim, seed in product(INITS, OPTIMS, range(3)):
        write_run(init, optim, seed, test=[0.1], epochs=1, status="diverged", reason="nan", data_facts=facts)
    assert headline(compared(tmp_path)) == ""


def test_all_pairs_of_a_single_tested_pair_speaks_of_one(tmp_path: Path, write_run: Write) -> None:
    for optim, scores in (("adam", [0.9, 0.92, 0.91]), ("sgd", [0.91, 0.9, 0.92]), ("nag", [0.9])):
        for seed, score in enumerate(scores):
            write_run(optim=optim, seed=seed, test=[0.1, score])
    expected = "Of 1 pair of cells (2 pairs not tested), none is significant. It never differs by more than "
    assert all_pairs(compared(tmp_path)).startswith(expected)


def test_all_pairs_names_the_value_that_separates_cells(tmp_path: Path, write_run: Write) -> None:
    write(write_run)
    comparison = compared(tmp_path)
    assert all_pairs(comparison).startswith(
        "Of 15 pairs of cells, 8 are significant: each cell with adadelta is worse than each without it (8 pairs), and "
        "none of the others. None of these 7 others differs by more than 0."
    )
    letters = comparison.summary.set_index("cell")["letters"]
    assert {cell: letters[cell] for cell in letters.index} == {
        f"{i} / {o}": "b" if o == "adadelta" else "a" for i, o in product(INITS, OPTIMS)
    }
    assert summary_csv(comparison)["letters"].tolist() == letters.tolist()
    assert leaderboard(comparison)["letters"].tolist() == letters.tolist()
    assert "letters" in latex(comparison, "mnist", "mnist")


@pytest.mark.parametrize(
    ("difference", "said"), [(0.0039, "0.4 points"), (-0.0123, "1.2 points"), (0.0004, "0.04 points")]
)
def test_about_rounds(difference: float, said: str) -> None:
    assert OF_ACCURACY.about(difference) == said


@pytest.mark.parametrize(
    ("bound", "said"),
    [(0.0021, "0.3 points"), (0.002, "0.2 points"), (0.00051, "0.06 points"), (0.0005, "0.05 points")],
)
def test_at_most_rounds_up(bound: float, said: str) -> None:
    assert OF_ACCURACY.at_most(bound) == said


def test_margin_makes_pairs_and_keys_equivalent(tmp_path: Path, write_run: Write, report: Report) -> None:
    write(write_run)
    assert set(compared(tmp_path).pairs["verdict"]) == {"better", "inconclusive"}
    wide = compared(tmp_path, margin=0.01)
    assert wide.margin == 0.01
    assert set(wide.pairs["verdict"]) == {"better", "equivalent"}
    assert "(equivalent within 1 point)" in headline(wide)
    of_init = next(fact for fact in answer(wide) if fact.startswith("Initialization:"))
    assert of_init.startswith("Initialization: equivalent within 1 point on average (p ")
    assert "equivalent" not in next(fact for fact in answer(wide) if fact.startswith("Optimizer:"))
    is_within = wide.pairs[["ci_low", "ci_high"]].abs().max(axis=1) <= 0.002
    narrow = compared(tmp_path, margin=0.002)
    assert (narrow.pairs["verdict"] == "equivalent").tolist() == is_within.tolist()
    report(margin=0.01)
    assert "--margin 1\n" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        (0.0, "--margin 0: expected percentage points in (0, 100), such as 0.3"),
        (-0.1, "--margin -10: expected percentage points in (0, 100)"),
        (1.0, "--margin 100: expected percentage points in (0, 100)"),
        (math.nan, "--margin nan: expected percentage points in (0, 100)"),
        (0.00005, "--margin 0.005: less than one of 10,000 test images. Expected at least 0.01 points"),
    ],
)
def test_margin_out_of_range_raises(tmp_path: Path, write_run: Write, margin: float, words: str) -> None:
    write(write_run)
    with pytest.raises(UserError) as caught:
        compared(tmp_path, margin=margin)
    assert str(caught.value).startswith(words)


def test_claim_on_cells_names_their_common_value(tmp_path: Path, write_run: Write) -> None:
    write(write_run)
    comparison = compared(tmp_path)
    behind = [f"{init} / adadelta" for init in INITS]
    others = [cell for cell in comparison.summary["cell"] if cell not in behind]
    claims = Claims([claim(CELLS, [others, behind], 0.05, 0.001)], [])
    assert headline(replace(comparison, claims=claims)) == (
        "Without tuning, each cell with adadelta falls behind all other cells, by about 5.0 percentage points; no "
        "two of one group differ by more than 0.1 points."
    )


def test_headline_of_a_table_without_tests_is_empty(tmp_path: Path, write_run: Write) -> None:
    for init, seed in product(INITS, range(2)):
        write_run(init, seed=seed, test=[0.1, 0.9 + seed / 100])
    comparison = compared(tmp_path)
    assert isinstance(comparison.pairs, pd.DataFrame)
    assert (headline(comparison), all_pairs(comparison)) == ("", "")
