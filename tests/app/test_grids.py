"""Grids per optimizer: their jobs, values that keep their types, and messages about invalid grids."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mnist_mlp.app import grids
from mnist_mlp.app.compose import CachingLoader, compose
from mnist_mlp.app.messages import explain
from mnist_mlp.app.register import register
from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.schema import EXPERIMENT
from tests.helpers.commands import IN_PROCESS, SMALLER, Command
from tests.helpers.documents import blocks
from tests.helpers.hydra_config import Combinations, sweep_config
from tests.helpers.paths import ROOT

register(ROOT / "experiments")
OPTIONS = ("adam", "radam", "sgd")
STUDY = """
hydra:
  sweeper:
    params:
      optim: adam,sgd
    grids:
      adam:
        optim.lr: [1e-3, 1e-2]
        optim.betas: [[0.9, 0.98]]
      sgd:
        optim.lr: 1e-1
"""


def test_kept_load_sweep_config_equals_hydra(loader: ConfigLoader) -> None:
    config = sweep_config(loader, "optim=adam,sgd", "seed=0,1", "epochs=3", IN_PROCESS)
    jobs = [[f"optim={optim}", *seeds, "epochs=3"] for optim in ("adam", "sgd") for seeds in (["seed=0"], ["seed=7"])]
    jobs += [["optim=adam", "epochs=3"], ["optim=sgd", "epochs=3", "seed=1"]]
    kept: Any = CachingLoader(loader)
    assert len(list(compose(kept, config, jobs[:4]))) == 4
    assert len(kept._configs) == 2
    for job in jobs:
        given, expected = (of.load_sweep_config(config, list(job)) for of in (kept, loader))
        for made in (given, expected):
            OmegaConf.update(made, "hydra.job", {"id": 0, "num": 0})
        assert OmegaConf.to_container(given, resolve=False) == OmegaConf.to_container(expected, resolve=False)
    assert kept.get_group_options("optim") == loader.get_group_options("optim")


@pytest.fixture
def study() -> Iterator[Callable[[str], str]]:
    """Store a study, and return the argument that selects it."""
    store = ConfigStore.instance()

    def call(text: str) -> str:
        store.store(group=EXPERIMENT, name="grids", node=OmegaConf.create(text), package="_global_", provider="test")
        return f"{EXPERIMENT}=grids"

    yield call
    store.repo[EXPERIMENT].pop("grids.yaml", None)


def test_grids_per_optimizer_expand_to_its_jobs_only(combinations: Combinations) -> None:
    tree = "{adam:{optim.lr:[1e-3,1e-2],batch_size:[32,64]},sgd:{optim.lr:0.1}}"
    jobs = combinations("optim=adam,sgd,radam", "seed=0,1", f"hydra.sweeper.grids={tree}")
    rates = [f"optim.lr={rate}" for rate in ("0.001", "0.01")]
    assert jobs == [
        *(["optim=adam", f"seed={s}", lr, f"batch_size={b}"] for s in (0, 1) for lr in rates for b in (32, 64)),
        *(["optim=sgd", f"seed={s}", "optim.lr=0.1"] for s in (0, 1)),
        *(["optim=radam", f"seed={s}"] for s in (0, 1)),
    ]


@pytest.mark.parametrize("arguments", [(), ("optim=adam",), ("optim='adam'",)])
def test_grids_without_swept_optimizer_apply_to_selected_or_default(
    combinations: Combinations, arguments: tuple[str, ...]
) -> None:
    jobs = combinations(*arguments, "hydra.sweeper.grids={adam:{optim.lr:[1,2]},sgd:{optim.lr:3}}")
    assert [job[-1] for job in jobs] == ["optim.lr=1", "optim.lr=2"]


def test_grids_of_an_optimizer_not_in_the_sweep_are_logged(
    combinations: Combinations, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert combinations("optim=adam,sgd", "hydra.sweeper.grids={radam:{optim.lr:[1,2]}}") == [
            ["optim=adam"],
            ["optim=sgd"],
        ]
    assert caplog.messages == ["hydra.sweeper.grids: not in this sweep: radam"]


@pytest.mark.parametrize("none", ["hydra.sweeper.grids=null", "hydra.sweeper.grids={}", "dry_run=true"])
def test_combinations_without_grids_equal_the_plain_sweep(combinations: Combinations, none: str) -> None:
    own = ["dry_run=True"] if none == "dry_run=true" else []
    assert combinations("optim=adam,sgd", none) == [["optim=adam", *own], ["optim=sgd", *own]]


@pytest.mark.parametrize(
    ("arguments", "rates"),
    [
        ([], {"adam": [0.001, 0.01], "sgd": [0.1]}),
        (["optim=sgd"], {"sgd": [0.1]}),
        (["optim=adam,sgd,radam"], {"adam": [0.001, 0.01], "sgd": [0.1], "radam": [0.001]}),
        (["hydra.sweeper.grids={sgd:{optim.lr:[1,2]}}"], {"adam": [0.001, 0.01], "sgd": [1, 2]}),
        (["hydra.sweeper.grids.radam={optim.lr:5}", "optim=sgd,radam"], {"sgd": [0.1], "radam": [5]}),
        (["~hydra.sweeper.grids.adam"], {"adam": [0.01], "sgd": [0.1]}),
        (["hydra.sweeper.grids=null"], {"adam": [0.01], "sgd": [0.01]}),
    ],
)
def test_command_line_overrides_grids_of_a_study(
    loader: ConfigLoader,
    combinations: Combinations,
    study: Callable[[str], str],
    arguments: list[str],
    rates: dict[str, list[float]],
) -> None:
    given_ = [study(STUDY), *arguments]
    found: dict[str, list[float]] = {}
    for _, job in compose(loader, sweep_config(loader, *given_), combinations(*given_)):
        found.setdefault(job.hydra.runtime.choices.optim, []).append(job.optim.lr)
    assert found == rates


def test_grids_study_in_documentation_gives_expected_jobs(
    combinations: Combinations, study: Callable[[str], str]
) -> None:
    (text,) = (block for block in blocks("docs/sweeps.md", "yaml") if "grids:" in block)
    jobs = [[o for o in job if o != "experiment=grids"] for job in combinations(study(text))]
    rates = [("adam", ["0.0001", "0.001", "0.01"], []), ("sgd", ["0.01", "0.1", "1"], ["optim.momentum=0.9"])]
    assert jobs == [
        [f"optim={optimizer}", f"seed={seed}", f"optim.lr={rate}", *more]
        for optimizer, values, more in rates
        for seed in range(3)
        for rate in values
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\'\",[]{}()=: $#\n\t")).filter(
    lambda text: "${" not in text and text != "???"
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
@example("true")
@example("null")
@example("nan")
@example("1e-3")
@example("10")
@example("")
@example("it's \\'")
@example("ends in \\")
@example(["a,b", "[c]", "{d:e}"])
@example(1e-300)
@example(1e22)
def test_override_of_any_value_round_trips_through_hydra(value: Any) -> None:
    text = grids.override("model.mine", value)
    config = OmegaConf.create({})
    parsed = OverridesParser.create().parse_override(text)
    assert not parsed.is_sweep_override()
    OmegaConf.update(config, "model.mine", parsed.value(), force_add=True)
    assert repr(OmegaConf.to_container(config)["model"]["mine"]) == repr(value)  # type: ignore[call-overload, index]


def test_grids_values_keep_their_types_in_composed_jobs(loader: ConfigLoader, combinations: Combinations) -> None:
    values = "[null,true,3,1e-3,'1e-3','true',word,'a, b=c',[0.9,[x,null]],'${batch_size}']"
    given_ = f"hydra.sweeper.grids={{adam:{{model.mine:{values}}}}}"
    jobs = compose(loader, sweep_config(loader, given_), combinations(given_, "batch_size=7,8"))
    found = [plain(job)["model"]["mine"] for _, job in jobs]
    texts = ["None", "True", "3", "0.001", "'1e-3'", "'true'", "'word'", "'a, b=c'", "[0.9, ['x', None]]"]
    assert [repr(value) for value in found] == [*texts, "7", *texts, "8"]


def test_read_grids_scientific_notation_in_yaml_gives_floats() -> None:
    tree = OmegaConf.to_container(OmegaConf.create("adam: {optim.lr: [1e-3, 1E-2, 1.0e-1, .5]}"))
    assert grids.read(tree, OPTIONS) == {"adam": {"optim.lr": [0.001, 0.01, 0.1, 0.5]}}


@pytest.mark.parametrize("tree", [{"adam": {"init": ["he", "lecun"], "data.normalize": [True, False]}}])
def test_expand_groups_and_tunable_keys_gives_their_product(tree: dict[str, Any]) -> None:
    assert grids.expand([[]], tree, "adam", OPTIONS) == [
        [f"init={init}", f"data.normalize={normalize}"] for init in ("he", "lecun") for normalize in (True, False)
    ]


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([1], ["hydra.sweeper.grids=[1]", "a grid for each optimizer"]),
        ("adam", ["hydra.sweeper.grids=adam", "a grid for each optimizer"]),
        ({"adamm": {"optim.lr": 1}}, ["hydra.sweeper.grids: adamm=", "Did you mean adam?", "adam, radam, sgd"]),
        ({3: {"optim.lr": 1}}, ["hydra.sweeper.grids: 3=", "adam, radam, sgd"]),
        ({"adam": 3}, ["hydra.sweeper.grids.adam=3", "expected keys with values"]),
        ({"adam": None}, ["hydra.sweeper.grids.adam=None", "expected keys with values"]),
        ({"adam": {}}, ["hydra.sweeper.grids.adam={}", "expected keys with values"]),
        ({"adam": {"lr": [1]}}, ["grids.adam: lr=[1]", "Did you mean optim.lr?"]),
        ({"adam": {"batchsize": 1}}, ["grids.adam: batchsize=1", "Did you mean batch_size?"]),
        ({"adam": {"hydra.launcher.n_jobs": 1}}, ["grids.adam: hydra.launcher.n_jobs=1", "unknown key"]),
        ({"adam": {"+optim.lr": 1}}, ["grids.adam: +optim.lr=1", "unknown key"]),
        ({"adam": {"optim.lr=1,2 x": 1}}, ["grids.adam: optim.lr=1,2 x=1", "unknown key"]),
        ({"adam": {0: 1}}, ["grids.adam: 0=1", "unknown key"]),
        ({"adam": {"optim": ["sgd"]}}, ["grids.adam: optim=['sgd']", "such as optim.lr"]),
        ({"adam": {"optim": {"lr": [1]}}}, ["grids.adam: optim={'lr': [1]}", "such as optim.lr"]),
        ({"adam": {"seed": [0, 1]}}, ["grids.adam: seed=[0, 1]", "the same for all optimizers"]),
        ({"adam": {"epochs": 3}}, ["grids.adam: epochs=3", "the same for all optimizers"]),
        ({"adam": {"data": "digits"}}, ["grids.adam: data=digits", "the same for all optimizers"]),
        ({"adam": {"threads": [1, 2]}}, ["grids.adam: threads=[1, 2]", "the same for all optimizers"]),
        ({"adam": {"optim.lr": []}}, ["grids.adam: optim.lr=[]", "at least one"]),
        ({"adam": {"optim.lr": {"low": 1}}}, ["grids.adam: optim.lr={'low': 1}", "a list of at least one"]),
        ({"adam": {"optim.lr": [b"1"]}}, ["grids.adam: optim.lr=[b'1']", "a list of at least one"]),
        (
            {"adam": {"optim.lr": [1, 0.1, 1.0]}},
            ["grids.adam: optim.lr=[1, 0.1, 1.0]: expected different values, but 1.0 is listed twice"],
        ),
        ({"sgd": {"optim.betas": [[0, 1], [0.0, 1]]}}, ["grids.sgd: optim.betas=", "[0.0, 1] is listed twice"]),
    ],
)
def test_expand_invalid_grid_raises_with_its_key(tree: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        grids.expand([["optim=radam"]], tree, "radam", OPTIONS)
    for word in words:
        assert word in str(caught.value)


def test_expand_values_of_different_types_are_distinct() -> None:
    tree = {"adam": {"optim.mine": [1, True, "1", None, "null", [1]]}}
    assert len(grids.expand([[]], tree, "adam", OPTIONS)) == 6


@pytest.mark.parametrize("given_", ["optim.lr=1", "optim.lr=1,2", "++optim.lr=1"])
def test_grids_key_also_set_by_the_sweep_raises(combinations: Combinations, given_: str) -> None:
    tree = "hydra.sweeper.grids={adam:{optim.lr:[1,2]}}"
    with pytest.raises(
        ConfigError,
        match=r"grids\.adam: optim\.lr=\[1, 2\]: expected a key that the sweep does not set, not \+*optim\.lr=1",
    ):
        combinations("optim=sgd,adam", given_, tree)
    assert combinations("optim=sgd", given_, tree)  # no job has both, so neither is ambiguous


@pytest.mark.parametrize("argument", ["hydra.sweeper.grids=[1]", "+hydra.sweeper.grids=[1]"])
def test_explain_grids_given_as_list_expects_mapping(loader: ConfigLoader, argument: str) -> None:
    with pytest.raises(ConfigCompositionException) as caught:
        sweep_config(loader, argument)
    assert explain(caught.value) == "hydra.sweeper.grids=[1]: expected {key:value}, not a list"


def test_run_invalid_grids_exits_with_one_line(command: Command, tmp_path: Path) -> None:
    for arguments, message in (
        (
            ["-m", "hydra.sweeper.grids={adamm:{optim.lr:1}}"],
            r"hydra\.sweeper\.grids: adamm=.*\. Did you mean adam\?",
        ),
        (
            ["-m", "data=digits", "hydra.sweeper.grids={adam:{optim.lrr:1}}"],
            r"optim\.lrr=1: .* Did you mean optim\.lr\?",
        ),
        (["hydra.sweeper.grids={adam:{optim.lr:1}}"], r"hydra\.sweeper\.grids: expected -m"),
    ):
        done = command("run.py", *arguments, status=1)
        assert re.fullmatch(f"error: {message}.*\n", done.stderr)
        assert list(tmp_path.iterdir()) == []


def test_sweep_with_grids_resumes_and_notes_unequal_budgets(command: Command, tmp_path: Path) -> None:
    tree = "hydra.sweeper.grids={adam:{optim.lr:[1e-3,1e-2]},sgd:{optim.lr:[0.01,0.1,1]}}"
    arguments = ("-m", "optim=adam,sgd", "seed=0", "epochs=1", *SMALLER, IN_PROCESS, "hydra.sweep.dir=multirun/here")
    first = command("run.py", *arguments, "hydra.sweeper.grids={sgd:{optim.lr:[0.1,1]}}")
    assert "3 jobs, 0 skipped" in first.stdout
    again = command("run.py", *arguments, tree)
    assert "5 jobs, 3 skipped as they have a result, 2 to do" in again.stdout
    assert "Unequal tuning budgets" in (tmp_path / "reports/here/report.md").read_text()
    dry = command("run.py", *arguments, tree, "dry_run=true").stdout
    assert re.findall(r"^done   he_(\w+_lr[\d.]+)_seed0-", dry, flags=re.MULTILINE) == [
        *("adam_lr0.001", "adam_lr0.01", "sgd_lr0.01", "sgd_lr0.1", "sgd_lr1.0")
    ]
