"""Search by trials: the places of its points, their values, and messages about invalid searches."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_mlp.app.search import Choice, Interval, places
from mnist_mlp.app.sweep import resume_command
from mnist_mlp.base.errors import ConfigError
from tests.helpers.hydra_config import Combinations

ADAM, SGD = "optim=adam", "optim=sgd"


def rates(jobs: list[list[str]], *having: str) -> list[float]:
    """Return the learning rates of the jobs that have all of these overrides."""
    of = [job for job in jobs if set(having) <= set(job)]
    return [float(next(o for o in job if o.startswith("optim.lr=")).partition("=")[2]) for job in of]


def test_combinations_with_trials_search_all_cells_at_equal_places(combinations: Combinations) -> None:
    grids = "hydra.sweeper.grids={sgd:{optim.lr:'tag(log,interval(1e-2,1))'}}"
    jobs = combinations("init=he,lecun", "optim=adam,sgd", "seed=0,1", grids, "hydra.sweeper.trials=5")
    assert len(jobs) == 2 * 2 * (1 + 5)  # Adam has nothing to search
    jobs = combinations(
        "init=he,lecun", "optim=adam,radam", "optim.lr=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.trials=16"
    )
    assert len(jobs) == 2 * 2 * 16
    found = [rates(jobs, f"init={init}", f"optim={optim}") for init in ("he", "lecun") for optim in ("adam", "radam")]
    assert all(other == found[0] for other in found)
    assert len(set(found[0])) == 16
    # Sixteen points of a sequence of base 2: one in each sixteenth of the range.
    assert sorted(math.floor(16 * (math.log10(rate) + 4) / 3) for rate in found[0]) == list(range(16))


def test_combinations_with_range_per_optimizer_share_places(combinations: Combinations) -> None:
    of_sgd = "{optim.lr:'interval(0,1)',optim.momentum:[0,0.9]}"
    grids = f"hydra.sweeper.grids={{adam:{{optim.lr:'interval(0,0.1)'}},sgd:{of_sgd}}}"
    jobs = combinations("optim=adam,sgd", "seed=0,1,2", grids, "hydra.sweeper.trials=4")
    assert len(jobs) == 3 * 4 + 3 * 2 * 4
    adam, sgd = rates(jobs, ADAM, "seed=0"), rates(jobs, SGD, "seed=1", "optim.momentum=0.9")
    assert [10 * rate for rate in adam] == pytest.approx(sgd, rel=1e-3)


def test_combinations_with_more_trials_keep_the_first_ones(combinations: Combinations) -> None:
    sweep = ("optim=adam,sgd", "optim.lr=tag(log,interval(1e-4,1))")
    few, more = (combinations(*sweep, f"hydra.sweeper.trials={n}") for n in (16, 32))
    assert rates(more, ADAM)[:16] == rates(few, ADAM)
    assert len(rates(more, ADAM)) == 32


def test_combinations_with_int_and_choice_cover_all_values(combinations: Combinations) -> None:
    jobs = combinations(
        "batch_size=int(interval(1,4))", "model.activation=tag(search,choice(relu,tanh))", "hydra.sweeper.trials=12"
    )
    values = [dict(given.split("=") for given in job) for job in jobs]
    assert {value["batch_size"] for value in values} == {"1", "2", "3", "4"}
    assert {value["model.activation"] for value in values} == {"relu", "tanh"}


@given(
    low=st.floats(1e-6, 1e3), factor=st.floats(1.001, 1e6), place=st.floats(0, 1, exclude_max=True), log=st.booleans()
)
def test_interval_at_any_place_lies_within_its_bounds(low: float, factor: float, place: float, log: bool) -> None:
    high = low * factor
    assert low <= Interval(low, high, log, whole=False).at(place) <= high
    whole = Interval(math.ceil(low), math.ceil(high) + 1, log, whole=True).at(place)
    assert isinstance(whole, int)
    assert math.ceil(low) <= whole <= math.ceil(high) + 1
    assert Choice("abc").at(place) in "abc"


def test_interval_of_whole_numbers_is_uniform() -> None:
    made = Interval(1, 4, log=False, whole=True)
    found = [made.at(place) for place in np.arange(400) / 400]
    assert [found.count(number) for number in (1, 2, 3, 4)] == [100] * 4


def test_places_repeated_are_equal() -> None:
    first, second = (list(point.values()) for point in places(["a", "b"], 2))
    assert first == pytest.approx([0.70722484, 0.46907967])
    assert second == pytest.approx([0.20722484, 0.802413])


def test_places_fill_each_dimension_evenly() -> None:
    points = np.array([list(point.values()) for point in places(["a", "b"], 36)])
    for column, count in zip(points.T, (2**5, 3**3), strict=True):
        assert len(set(np.floor(column[:count] * count))) == count


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optim.lr=interval(1,0.1)", "hydra.sweeper.trials=4"], ["optim.lr=interval(1,0.1)", "LOW below HIGH"]),
        (["optim.lr=tag(log,interval(-1,1))", "hydra.sweeper.trials=4"], ["optim.lr=tag", "greater than 0"]),
        (
            ["optim.lr=tag(lgo,interval(0.1,1))", "hydra.sweeper.trials=4"],
            ["unknown tag lgo", "Known tags: log, search"],
        ),
        (["optim.lr=interval(0.1,1)", "hydra.sweeper.trials=0"], ["trials=0", "at least 1"]),
        (["optim.lr=interval(0.1,1)", "hydra.sweeper.trials=many"], ["trials=many", "a whole number"]),
        (["optim.lr=interval(0.1,1)"], ["hydra.sweeper.trials=null: expected a whole number"]),
        (["hydra.sweeper.trials=4"], ["trials=4", "expected an interval to search"]),
        (["seed=interval(0,9)", "hydra.sweeper.trials=4"], ["seed=interval(0,9)", "a key to tune"]),
        (["epochs=int(interval(1,9))", "hydra.sweeper.trials=4"], ["epochs=int(interval(1,9))", "a key to tune"]),
        (
            ["hydra.sweeper.grids={adam:{optim.lr:'interval(2,1)'}}", "hydra.sweeper.trials=4"],
            ["hydra.sweeper.grids.adam: optim.lr=interval(2,1)", "LOW below HIGH"],
        ),
        (
            ["hydra.sweeper.grids={adam:{optim.lr:[1]}}", "optim.lr=interval(1,2)", "hydra.sweeper.trials=4"],
            ["hydra.sweeper.grids.adam: optim.lr=[1]", "expected a key that the sweep does not set"],
        ),
    ],
)
def test_combinations_invalid_search_raises(combinations: Combinations, arguments: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        combinations(*arguments)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_combinations_places_are_independent_of_other_cells(combinations: Combinations) -> None:
    sweep = ("optim=adam,rmsprop", "optim.lr=tag(log,interval(1e-4,1))", "hydra.sweeper.trials=8")
    alone = rates(combinations(*sweep), ADAM)
    for grids in ("{rmsprop:{optim.alpha:'interval(0.9,0.99)'}}", "{rmsprop:{batch_size:'int(interval(8,64))'}}"):
        assert rates(combinations(*sweep, f"hydra.sweeper.grids={grids}"), ADAM) == alone
    # An additional key of the cell uses the dimension after the learning rate.
    wider = "hydra.sweeper.grids={adam:{batch_size:'int(interval(8,64))'}}"
    assert rates(combinations(*sweep, wider), ADAM) == alone


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(("low", "high"), [(0.999, 0.9999), (1e-4, 1.0), (100.0, 100.1), (1e-9, 2e-9)])
def test_interval_1000_places_give_1000_values(low: float, high: float, log: bool) -> None:
    interval = Interval(low, high, log, whole=False)
    for key in ("a", "b"):
        assert len({interval.at(point[key]) for point in places(["a", "b"], 1000)}) == 1000


def test_interval_at_rounds_to_needed_digits() -> None:
    assert Interval(1e-4, 1.0, log=True, whole=False).at(0.123456) == 0.0003118
    assert Interval(0.0, 1.0, log=False, whole=False).at(0.123456) == 0.1235
    assert Interval(16.0, 256.0, log=False, whole=False).at(0.123456) == 45.63


@pytest.mark.parametrize("key", ["+data.train_size", "++data.train_size", "++seed", "+init"])
def test_combinations_added_key_that_is_not_tunable_raises(combinations: Combinations, key: str) -> None:
    with pytest.raises(ConfigError, match="expected a key to tune"):
        combinations(f"{key}=int(interval(100,500))", "hydra.sweeper.trials=4")


@pytest.mark.parametrize("prefix", ["+", "++"])
def test_combinations_prefixed_key_tries_the_same_values(combinations: Combinations, prefix: str) -> None:
    others = ("optim.eps=tag(log,interval(1e-9,1e-5))", "hydra.sweeper.trials=4")
    plain = combinations("optim.lr=tag(log,interval(1e-4,1))", *others)
    added = combinations(f"{prefix}optim.lr=tag(log,interval(1e-4,1))", *others)
    assert {*map(frozenset, plain)} == {frozenset(one.removeprefix(prefix) for one in job) for job in added}
    assert all(job[0].startswith(f"{prefix}optim.lr=") for job in added)


def test_combinations_key_given_twice_to_search_counts_once(combinations: Combinations) -> None:
    jobs = combinations("optim.lr=0.1,0.2,0.3", "++optim.lr=interval(0.01,1)", "hydra.sweeper.trials=2")
    assert [len(job) for job in jobs] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "resumed"),
    [
        (["-m", "++hydra.sweep.dir=mine", "++force=true"], "-m ++hydra.sweep.dir=mine"),
        (["+experiment=smoke"], "+experiment=smoke"),
        (["experiment=smoke", "force=changed"], "experiment=smoke force=changed"),
        (["-m", "++seed=0,1"], "-m ++seed=0,1 hydra.sweep.dir=here"),
    ],
)
def test_resume_command_prefixed_keys_are_recognized(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], resumed: str
) -> None:
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    assert resume_command(Path("here")) == f"python run.py {resumed}"


def test_combinations_key_given_twice_uses_last_values(combinations: Combinations) -> None:
    assert combinations("seed=range(0,2000000)", "seed=5") == [["seed=5"]]
