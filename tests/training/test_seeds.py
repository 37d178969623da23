"""Random streams of a run, as drawn where they are used: no stream may repeat another one."""

import random
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_mlp.base.configuration import plain
from mnist_mlp.base.schema import SOURCES
from mnist_mlp.build.from_config import Parts, build
from mnist_mlp.data.batches import order
from mnist_mlp.training.fused.backprop import Backprop, DropoutLayer
from mnist_mlp.training.seeds import derive_seeds, seed_default_generators
from mnist_mlp.training.step import make_step
from tests.helpers.composing import composed
from tests.helpers.paths import DATA

N = 7840  # weights of a layer from 784 pixels to 10 classes
pytestmark = pytest.mark.usefixtures("real_mnist")


class Drawing(nn.Module):
    """User-defined network that draws from every default generator, in its constructor and in each step."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.rand(N))
        self.linear = nn.Linear(in_features, out_features)
        self.made = {"NumPy, when made": np.random.rand(N), "Python, when made": [random.random() for _ in range(N)]}

    def forward(self, images: Tensor) -> Tensor:
        self.drawn = {
            "in a step": torch.rand(N),
            "NumPy, in a step": np.random.rand(N),
            "Python, in a step": [random.random() for _ in range(N)],
        }
        logits: Tensor = self.linear(images) + 0 * self.own.sum()
        return logits


def uniform_(weight: Tensor) -> None:
    """Initialize a weight from the default generator."""
    weight.uniform_(-0.5, 0.5)


def uniform_from_(weight: Tensor, *, generator: torch.Generator) -> None:
    weight.uniform_(-0.5, 0.5, generator=generator)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MNIST_MLP_DATA", str(DATA))

    def make(groups: dict[str, Any], **more: Any) -> Parts:
        return build({**plain(composed("device=cpu")), **groups, **more})

    return make


def step_of(parts: Parts) -> Any:
    step = make_step(parts.model, parts.optimizer, parts.seeds)
    step.gradients(*parts.data.train.take(slice(32)))
    return step.gradients


def draw_streams(built: Any, seed: int) -> dict[str, np.ndarray]:
    """Return N numbers of every stream of a run, by purpose."""
    own = built({"model": {"_target_": "tests.training.test_seeds.Drawing"}}, seed=seed)
    step_of(own)
    usual = built({}, seed=seed)
    backprop = step_of(usual)
    assert isinstance(backprop, Backprop)
    masks = np.concatenate([layer.factor.ravel() for layer in backprop.layers if isinstance(layer, DropoutLayer)])
    streams = {
        "weights": own.model.linear.weight.detach().flatten(),
        "a module's own parameter": own.model.own.detach(),
        "batches": order(N, torch.Generator().manual_seed(own.seeds.batches)),
        "dropout": masks[:N],
        **own.model.made,
        **own.model.drawn,
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in streams.items()}


def test_build_seed_of_one_stream_changes_that_stream_only(built: Any) -> None:
    unset = {"weights": None, "batches": None, "dropout": None, "modules": None}
    zero, three = built({}, seed=0), built({}, seed=3, seeds=unset)
    for source in SOURCES:
        changed = built({}, seed=0, seeds=unset | {source: 3})
        assert changed.seeds == zero.seeds._replace(**{source: getattr(three.seeds, source)})
    changed = built({}, seed=0, seeds={"weights": 3})
    for name, weights in changed.model.state_dict().items():
        assert torch.equal(weights, three.model.state_dict()[name])
    assert not torch.equal(changed.model.linear1.weight, zero.model.linear1.weight)
    orders = [order(100, torch.Generator().manual_seed(parts.seeds.batches)) for parts in (changed, zero, three)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert three.seeds == derive_seeds(3)


def test_build_streams_are_uncorrelated_and_reproducible(built: Any) -> None:
    first, second = draw_streams(built, seed=0), draw_streams(built, seed=1)
    streams = {f"{name} of seed {seed}": values for seed in (0, 1) for name, values in (first, second)[seed].items()}
    assert len(streams) == 18
    for (name, a), (other, b) in combinations(streams.items(), 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(N), f"{name}; {other}"  # 153 pairs, each 7e-6 by chance
    for name, values in draw_streams(built, seed=0).items():
        assert np.array_equal(values, first[name]), name


def test_build_init_without_generator_draws_from_the_weights_stream(built: Any) -> None:
    def weights(name: str) -> dict[str, Tensor]:
        parts: Parts = built({"init": {"_target_": f"{__name__}.{name}", "bias": "default"}})
        return parts.model.state_dict()

    taking, without = weights("uniform_from_"), weights("uniform_")
    assert all(torch.equal(taking[name], without[name]) for name in taking)
    bias, weight = without["linear1.bias"], without["linear1.weight"].flatten()[:512]
    assert abs(np.corrcoef(bias, weight)[0, 1]) < 0.2  # 512 values


def test_seed_default_generators_streams_are_uncorrelated() -> None:
    def draws() -> list[np.ndarray]:
        seed_default_generators(7)
        return [torch.rand(N).double().numpy(), np.random.rand(N), np.array([random.random() for _ in range(N)])]

    for (a, b), (c, d) in zip(combinations(draws(), 2), combinations(draws(), 2), strict=True):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(N)
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)


def test_derive_seeds_of_different_seeds_are_distinct() -> None:
    seeds = [word for seed in range(100) for word in derive_seeds(seed)]
    assert len(set(seeds)) == 400
    assert derive_seeds(10**30) != derive_seeds(0)
