"""Planning of many jobs: Hydra composes few of them, and an invalid job is found before training."""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_mlp.app import compose as composing
from mnist_mlp.app.compose import ConfigCache, as_job, compose
from mnist_mlp.app.messages import explain
from mnist_mlp.app.plan import plan
from mnist_mlp.app.register import register
from mnist_mlp.base.configuration import kind, plain
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.build import from_config, trial
from mnist_mlp.build import stack_plan as stack_plan
from mnist_mlp.build.instantiate import find_target
from mnist_mlp.sweeps import progress
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.composing import composed
from tests.helpers.hydra_config import config_loader, sweep_config
from tests.helpers.paths import ROOT

register(ROOT / "experiments")
DIGITS = "data=digits"


class Counting:
    """Hydra's configuration loader with a count of composed jobs."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader, self.count = loader, 0

    def load_sweep_config(self, *arguments: Any) -> Any:
        self.count += 1
        return self._loader.load_sweep_config(*arguments)


def planned(top: Path, jobs: Sequence[Sequence[str]], **keywords: Any) -> tuple[list[Job], int]:
    """Plan jobs on digits, and return them with the number of compositions."""
    with config_loader() as loader:
        counting: Any = Counting(loader)
        configs = compose(counting, sweep_config(loader), [[*job, DIGITS] for job in jobs])
        return plan(top, ((jobs[number], config) for number, config in configs), **keywords), counting.count


@pytest.mark.parametrize(
    "jobs",
    [
        [["optim.lr=1e-05", "seed=3", "optim.eps=2"], ["optim.lr=1", "seed=4", "optim.eps=3."]],
        [["epochs=3", "optim.lr=-0"], ["epochs=1.5", "optim.lr=1"], ["epochs=1.0", "optim.lr=+1"]],
        [["model.batch_norm=1", "seeds.weights=2"], ["model.batch_norm=0", "seeds.weights=5"]],
        [
            ["optim=sgd", "optim.eps=${optim.lr}", f"optim.lr={rate}", "optim.name=${hydra.job.override_dirname}"]
            for rate in (1, 2.5)
        ],
        [["optim.lr=1", "optim={lr:3}", "optim.lr=2"], ["optim.lr=4", "optim={lr:3}", "optim.lr=5"]],
        [["optim={lr:3}", "seed=1", "seed=2"], ["optim={lr:3}", "seed=3", "seed=2"]],
        [["optim.lr=3", "~optim.lr"], ["optim.lr=4", "~optim.lr"]],
    ],
)
def test_compositions_of_numbers_equal_hydra(loader: ConfigLoader, jobs: list[list[str]]) -> None:
    config = sweep_config(loader, "hydra.sweep.subdir=${optim.lr}-${hydra.job.override_dirname}")
    compositions = ConfigCache(loader)
    for number, job in enumerate(jobs):
        results = []
        for make in (compositions.of, loader.load_sweep_config):
            try:
                results.append(_contents(as_job(make(config, job), number)))
            except (HydraException, OmegaConfBaseException) as error:
                results.append([explain(error)])
        assert results[0] == results[1]


def _contents(config: Any) -> list[object]:
    """Return the contents of a configuration, including the types of its numbers."""
    resolved = {key: value for key, value in plain(config).items() if key != "data"}
    return [str(OmegaConf.to_container(config, resolve=False)), str(resolved), config.hydra.sweep.subdir]


@settings(max_examples=30)
@given(st.from_regex(composing.NUMBER, fullmatch=True))
def test_numbers_of_an_override_equal_parsed_by_hydra(override: str) -> None:
    parsed = OverridesParser.create().parse_override(override)
    ((key, number),) = composing._numbers([override])
    assert (key, number, type(number)) == (parsed.key_or_group, parsed.value(), type(parsed.value()))
    assert composing._parsed(override).input_line == parsed.input_line


def test_plan_300_rates_composes_once(tmp_path: Path) -> None:
    numbers = range(1, 301)
    jobs, compositions = planned(tmp_path, [[f"optim.lr={n / 1000}", f"seed={n % 3}"] for n in numbers])
    assert compositions == 1
    assert sorted(job.config["optim"]["lr"] for job in jobs) == [number / 1000 for number in range(1, 301)]
    assert len({job.directory for job in jobs}) == 300


def test_compose_more_patterns_than_cached_equals_hydra(loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "MAX_CACHED", 1)
    jobs = [["optim=adam", "optim.lr=1"], ["optim=sgd", "optim.lr=2"], ["optim=adam", "optim.lr=3"]]
    counting: Any = Counting(loader)
    found = [config.optim.lr for _, config in compose(counting, sweep_config(loader), jobs)]
    assert (found, counting.count) == ([1, 2, 3], 3)


@pytest.mark.parametrize(
    ("pattern", "bad"),
    [
        (["optim.lr={}"], "-1"),  # by the schema
        (["epochs={}"], "1e0"),  # by Hydra
        (["optim.weight_decay={}"], "-1"),  # by the optimizer
        (["init.scale={}"], "0"),  # by the initialization
        (["schedule=inverse_sqrt", "schedule.scale={}"], "0"),  # by the schedule
        (["optim=sgd", "optim._target_=tests.app.test_plan.RaisesInConstructor", "optim.lr={}"], "0.25"),
        (["optim=sgd", "optim._target_=tests.app.test_plan.RaisesInStep", "optim.lr={}"], "0.25"),
        (["optim=sgd", "optim._target_=tests.app.test_plan.RaisesInStepOfElements", "optim.lr={}"], "0.25"),
    ],
)
def test_plan_invalid_number_among_many_raises_as_alone(tmp_path: Path, pattern: list[str], bad: str) -> None:
    jobs = [[text.format(value) for text in pattern] for value in ("1", "0.5" if "." in bad else "2", bad, "1")]
    with pytest.raises((ConfigError, HydraException)) as alone:
        trial.check(plain(composed(DIGITS, *jobs[2])))
    with pytest.raises(type(alone.value)) as among_many:
        planned(tmp_path, jobs)
    assert explain(among_many.value) == explain(alone.value)


class RaisesInConstructor(torch.optim.SGD):
    """A user-defined optimizer that refuses one rate."""

    def __init__(self, params: Any, lr: float, **arguments: Any) -> None:
        if lr == 0.25:
            raise ValueError("a quarter")
        super().__init__(params, lr, **arguments)


class RaisesInStep(torch.optim.SGD):
    """A user-defined optimizer that refuses one rate when it takes a step."""

    def step(self, closure: Any = None) -> Any:
        if self.param_groups[0]["lr"] == 0.25:
            raise ValueError("a quarter")
        return super().step(closure)


class RaisesInStepOfElements(RaisesInStep):
    """`RaisesInStep` as an elementwise optimizer."""

    elementwise = True


class GroupsByNumber(torch.optim.SGD):
    """A user-defined optimizer whose groups depend on a number."""

    elementwise = True

    def __init__(self, params: Any, lr: float, several: float = 0.0, **arguments: Any) -> None:
        parameters = list(params)
        super().__init__([{"params": [p]} for p in parameters] if several else parameters, lr, **arguments)


class Whole(torch.optim.SGD):
    """A user-defined optimizer that is not elementwise, and refuses large rates for large parameters."""

    def step(self, closure: Any = None) -> Any:
        group = self.param_groups[0]
        if group["lr"] > 1 and max(p.numel() for p in group["params"]) > 100:
            raise ValueError("too large")
        return super().step(closure)


def test_plan_number_invalid_for_large_parameters_raises(tmp_path: Path) -> None:
    own = ["optim=sgd", "optim._target_=tests.app.test_plan.Whole"]
    assert len(planned(tmp_path, [[*own, f"optim.lr={lr}"] for lr in (0.5, 1)])[0]) == 2
    with pytest.raises(ConfigError, match=r"optim\.lr=2\.0, .* ValueError in test_plan\.py:\d+: too large$"):
        planned(tmp_path, [[*own, f"optim.lr={lr}"] for lr in (0.5, 2)])


class RefusesLargeWeights(torch.optim.SGD):
    """A user-defined optimizer that refuses one rate with large weights."""

    def step(self, closure: Any = None) -> Any:
        group = self.param_groups[0]
        if group["lr"] == 0.5 and group["params"][0].abs().max() > 1:
            raise ValueError("too large")
        return super().step(closure)


def test_plan_rate_invalid_with_another_init_raises(tmp_path: Path) -> None:
    own = ["optim=sgd", "optim._target_=tests.app.test_plan.RefusesLargeWeights"]
    jobs = [[*own, f"init.scale={scale}", f"optim.lr={lr}"] for scale in (1, 1000) for lr in (1, 0.5)]
    assert len(planned(tmp_path, jobs[:3])[0]) == 3
    with pytest.raises(ConfigError, match=r"optim\.lr=0\.5, .* ValueError in test_plan\.py:\d+: too large$"):
        planned(tmp_path, jobs)


def test_plan_on_gpu_gives_stack_keys_of_each_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (from_config, trial, stack_plan):
        monkeypatch.setattr(module, "find_device", lambda name: torch.device("cuda"))
    own = "optim._target_=tests.app.test_plan.GroupsByNumber"
    jobs, _ = planned(
        tmp_path,
        [
            *(
                ["optim.lr=1", f"optim.weight_decay={decay}", f"optim.decay_biases={of}"]
                for decay in (0, 1)
                for of in (0, 1)
            ),
            *(["optim=sgd", own, f"+optim.several={several}"] for several in (0, 1)),
            ["optim=sgd", own, "+optim.several=0.5", "optim.lr=3"],
        ],
    )
    alone = [stack_plan.stack_key(job.config, trial.check(job.config)) for job in jobs]
    assert [job.stack for job in jobs] == alone
    assert len(set(alone)) == 3
    assert None not in alone
    packed = stack_plan.pack([dict(job.config) | {"device": "cpu"} for job in jobs], memory=1)
    assert sorted(map(len, packed.stacks)) == [2, 2, 3]


def test_plan_timed_measures_steps_on_cpu_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [["epochs=3", "batch_size=100", f"optim.lr={lr}"] for lr in (1, 2)]
    timed, _ = planned(tmp_path, jobs, timed=True)
    assert [job.steps for job in timed] == [3 * 13, 3 * 13]  # 1,248 images
    assert timed[0].step_seconds == timed[1].step_seconds
    assert 0 < (timed[0].step_seconds or 0) < 1
    assert [job.step_seconds for job in planned(tmp_path, jobs)[0]] == [None, None]
    assert timed == [replace(job, step_seconds=7.0) for job in timed]
    monkeypatch.setattr(from_config, "find_device", lambda name: torch.device("meta"))
    assert [job.step_seconds for job in planned(tmp_path, jobs, timed=True)[0]] == [None, None]


@pytest.mark.parametrize("last", [{"steps": [1, 2.5]}, {"of": {"_target_": "fractions.Fraction", "numerator": 3}}])
def test_find_target_cached_equals_hydra(last: dict[str, Any]) -> None:
    node = {"_target_": "tests.app.test_plan.kept", "_partial_": True, "lr": 1, "text": "a", "none": None, **last}
    hydra, again = (find_target("optim", node) for _ in range(2))
    assert again() == hydra() == instantiate(node, _convert_="all")()
    assert again() == {"lr": 1, "text": "a", "none": None, **last} or again()["of"] == 3


def kept(**arguments: Any) -> dict[str, Any]:
    return arguments


def test_kind_differs_unless_only_numbers_differ() -> None:
    config = plain(composed())

    def of(group: str, **values: Any) -> str:
        return kind(config | {group: config[group] | values})

    usual = kind(config)
    assert usual == of("optim", lr=1) == of("optim", betas=[0.8, 1]) == of("init", scale=1) == of("schedule", warmup=1)
    others = [of("optim", amsgrad=True), of("init", bias="zeros"), of("model", dropout=0.1), of("optim", lr="NaN")]
    assert len({usual, *others, kind(config | {"batch_size": 7})}) == 6
    assert kind(config | {"seed": 3}) == usual


def test_counted_to_a_file_writes_lines_only_if_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress.count_items(range(3), 3, "jobs checked", shown=True)) == [0, 1, 2]
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    assert list(progress.count_items(range(3), 3, "jobs checked", shown=False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    assert list(progress.count_items(range(3), 2, "jobs checked", shown=True)) == [0, 1, 2]
    assert list(progress.count_items(range(1), None, "jobs", shown=True)) == [0]
    assert capsys.readouterr() == ("", "1 of 2 jobs checked\n2 of 2 jobs checked\n3 of 2 jobs checked\n1 jobs\n")


def test_counted_on_a_terminal_draws_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.count_items(range(2), 2, "jobs checked", shown=True)) == [0, 1]
    assert re.search(r"jobs checked: +0%.* 0/2", capsys.readouterr().err)
