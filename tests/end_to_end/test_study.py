"""The study in the README: its report matches its command, and every number of the answer is in its tables."""

import re
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from mnist_mlp.analysis.claims import claims_from_effects
from mnist_mlp.analysis.effects import compare_effects
from mnist_mlp.analysis.roles import REPLICATE, cell_names
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.schema import COMPARED, LEARNING_RATE
from mnist_mlp.base.sweep_file import CONFIRM, ONCE, SEARCH
from mnist_mlp.report.text.headline import headline
from mnist_mlp.report.text.numbers import probability
from mnist_mlp.report.text.units import OF_ACCURACY
from mnist_mlp.stats.effects import factorial_effects
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.verdicts import Verdict
from tests.helpers.paths import ROOT

REPORT = ROOT / "reports/init_by_optim"
IMAGES = 10_000


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_csv(REPORT / "runs.csv", keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    return pd.read_csv(REPORT / "summary.csv")


@pytest.fixture(scope="module")
def study() -> Any:
    return OmegaConf.to_container(OmegaConf.load(ROOT / "experiments/init_by_optim.yaml"))


def test_study_report_runs_match_the_study_file(runs: pd.DataFrame, study: Any) -> None:
    sweeper = study["hydra"]["sweeper"]
    params = sweeper["params"]
    assert (REPORT / "report.md").read_text().splitlines()[2].startswith("`python run.py experiment=init_by_optim`: ")
    searched, confirmed = (runs[runs["phase"] == phase] for phase in (SEARCH, CONFIRM))
    tried = {optim: set(of["optim.lr"]) for optim, of in sweeper["grids"].items()}
    cells = {(init, optim) for init in params["init"].split(",") for optim in tried}
    assert {*searched.groupby(["init", "optim"]).groups} == {*confirmed.groupby(["init", "optim"]).groups} == cells
    for (_, optim), of in searched.groupby(["init", "optim"]):
        assert set(of["optim.lr"]) == tried[optim]
        assert {*of.groupby("optim.lr")["seed"].agg(lambda seeds: ",".join(map(str, sorted(seeds))))} == {
            params["seed"]
        }
    for (_, optim), of in confirmed.groupby(["init", "optim"]):
        assert sorted(of["seed"]) == sweeper["confirm"]["seed"]
        (rate,) = of["optim.lr"].unique()
        assert min(tried[optim]) < rate < max(tried[optim])  # no selected rate is at an edge of its grid
    assert set(searched["seed"]).isdisjoint(confirmed["seed"])


def test_study_report_tables_match_its_runs(runs: pd.DataFrame, summary: pd.DataFrame) -> None:
    confirmed = runs[runs["phase"] == CONFIRM]
    means = confirmed.groupby(["init", "optim"])["test_accuracy"].mean()
    for row in summary.to_dict("records"):
        assert row["test_accuracy_mean"] == pytest.approx(means[row["init"], row["optim"]], abs=1e-12)
    table = confirmed.assign(cell=cell_names(confirmed, COMPARED)).pivot(
        index="cell", columns="seed", values="test_accuracy"
    )
    expected, _ = compare_pairs(table.reindex(cell_names(summary, COMPARED)), IMAGES)
    pairs = pd.read_csv(REPORT / "pairs.csv")
    assert pairs["verdict"].tolist() == expected["verdict"].tolist()
    assert pairs["p_corrected"].tolist() == pytest.approx(expected["p_corrected"].tolist(), rel=1e-6)


def test_report_page_explains_a_row_of_the_study(runs: pd.DataFrame) -> None:
    section = (ROOT / "docs" / "report.md").read_text().partition("### One verdict explained")[2].partition("\n## ")[0]
    said = " ".join(section.split())
    pairs = pd.read_csv(REPORT / "pairs.csv")
    is_shown = (pairs["optim_a"] == "adagrad") & (pairs["optim_b"] == "adagrad") & (pairs["init_b"] == "he")
    (row,) = pairs[is_shown & (pairs["init_a"] == "default")].to_dict("records")
    numbers = [f"{row[key]:.4f}" for key in ("difference", "ci_low", "ci_high", "p")]
    assert f"| {' | '.join(numbers)} | {row['p_corrected']:.3f} | `{row['verdict']}` |" in said
    assert f"1 - (1 - p)^{len(pairs)}" in said
    assert row["p_corrected"] == pytest.approx(1 - (1 - row["p"]) ** len(pairs), rel=1e-6)
    confirmed = runs[(runs["phase"] == CONFIRM) & (runs["optim"] == "adagrad")].sort_values("seed")
    for init in ("default", "he"):
        *first, last = (f"{100 * score:.2f}" for score in confirmed.loc[confirmed["init"] == init, "test_accuracy"])
        assert f"{', '.join(first)} and {last}%" in said


def test_readme_answer_matches_report_tables(runs: pd.DataFrame, summary: pd.DataFrame) -> None:
    (answer,) = re.findall(
        r"^## The answer so far\n(.*?)^## ", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    said = " ".join(answer.replace("\n>", "\n").split())
    best = summary.iloc[0]
    name = f"{best['init']} / {best['optim']}"
    scored = f"{OF_ACCURACY.interval(*(best[f'test_accuracy_{part}'] for part in ('mean', 'ci_low', 'ci_high')))}%"
    pairs = pd.read_csv(REPORT / "pairs.csv")
    rivals = pairs[(pairs["init_a"] == best["init"]) & (pairs["optim_a"] == best["optim"])]
    better, alike = (int((rivals["verdict"] == kind).sum()) for kind in (Verdict.BETTER, Verdict.INCONCLUSIVE))
    confirmed = runs[runs["phase"] == CONFIRM].rename(columns={"test_accuracy": "score", "seed": REPLICATE})
    effects = compare_effects(confirmed, COMPARED, IMAGES).table.set_index("effect")
    points = {key: f"{100 * effects['range'][key]:.2f} points" for key in COMPARED}
    by_optim = confirmed.groupby("optim")["score"].mean()
    best_optim, worst_optim = by_optim.idxmax(), by_optim.idxmin()
    table = confirmed.pivot_table(index=["init", "optim"], columns=REPLICATE, values="score")
    claims = claims_from_effects(*factorial_effects(table, IMAGES, ACCURACY.bounds, len(effects)))
    of_study: dict[str, Any] = {"tuned": [LEARNING_RATE], "select": ONCE, "margin": None, "by": COMPARED}
    of_study |= {"claims": claims, "summary": summary}
    of_adadelta = pairs[(pairs["optim_a"] == "adadelta") != (pairs["optim_b"] == "adadelta")]
    others = pairs.drop(of_adadelta.index)
    assert (of_adadelta["verdict"] == Verdict.BETTER).all()
    facts = [
        f"**{headline(SimpleNamespace(**of_study, metric=ACCURACY))}**",  # type: ignore[arg-type]
        f"of {len(pairs)} pairs of combinations, {(pairs['verdict'] == Verdict.BETTER).sum()} are significant: each "
        f"combination with adadelta is worse than each without it ({len(of_adadelta)} pairs), and "
        f"{(others['verdict'] == Verdict.BETTER).sum()} of the others. None of these {len(others)} others differs by "
        "more than "
        f"{OF_ACCURACY.at_most(float(others[['ci_low', 'ci_high']].abs().to_numpy().max()))}",
        f"**{name}** (learning rate {best['optim.lr']:g})",
        f"{scored} test accuracy",
        f"better than {better} of the {len(rivals)} other combinations",
        f"comparisons with the other {alike} are inconclusive",
        f"(p {probability(effects['p']['init'])}); an effect of up to "
        f"{100 * effects['largest']['init']:.2f} points is possible",
        f"(p {probability(effects['p']['optim'])}; its best, {best_optim}, and its worst, {worst_optim}, are "
        f"{points['optim']} apart)",
        f"interaction (p {probability(effects['p'].iloc[-1])})",
        f"each of the {len(summary)} combinations",
        "at least one of its claims is wrong is about 5%",
        f"{len(runs)} runs",
    ]
    assert [fact for fact in facts if fact not in said] == []
    numbers = re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"\(reports/[^)]*\)|`[^`]*`", "", said))
    assert [number for number in numbers if number not in " ".join(facts)] == []
