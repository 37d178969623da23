"""Optimizers of `conf/optim/`, and hyperparameters to draw for them."""

import pydoc
from collections.abc import Iterable
from typing import Any

import torch
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import nn
from torch.optim import Optimizer

from mnist_mlp.training.updates import fused
from tests.helpers.paths import ROOT

TOLERANCE = {"nadam": (1e-6, 1e-6)}  # PyTorch keeps the product of momenta in single precision


def optimizer(name: str, parameters: Iterable[nn.Parameter], **changed: Any) -> Optimizer:
    node = OmegaConf.to_container(OmegaConf.load(ROOT / f"conf/optim/{name}.yaml"))
    assert isinstance(node, dict)
    kind: Any = pydoc.locate(node.pop("_target_"))
    del node["_partial_"]
    made = kind(parameters, **{str(key): value for key, value in node.items()} | changed)
    assert isinstance(made, Optimizer)
    return made


def has_formula(name: str) -> bool:
    return fused.supports(optimizer(name, [nn.Parameter(torch.zeros(2, 2)) for _ in range(2)]))


OPTIMIZERS = sorted(filter(has_formula, (path.stem for path in (ROOT / "conf/optim").glob("*.yaml"))))


unit = st.floats(0.05, 0.95)


small = st.floats(0, 0.3)


maybe_zero = st.sampled_from([0.0, 0.9])

HYPERPARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "sgd": {"weight_decay": small},
    "momentum": {"momentum": unit, "dampening": unit, "weight_decay": small},
    "nag": {"momentum": unit, "weight_decay": small},
    "adagrad": {"lr_decay": small, "initial_accumulator_value": small, "weight_decay": small},
    "rmsprop": {"alpha": unit, "weight_decay": small, "momentum": maybe_zero, "centered": st.booleans()},
    "adadelta": {"rho": unit, "weight_decay": small},
    "adam": {
        "betas": st.tuples(unit, unit),
        "weight_decay": small,
        "decoupled_weight_decay": st.booleans(),
        "amsgrad": st.booleans(),
    },
    "adamw": {"betas": st.tuples(unit, unit), "weight_decay": small, "amsgrad": st.booleans()},
    "adamax": {"betas": st.tuples(unit, unit), "weight_decay": small},
    "nadam": {
        "betas": st.tuples(unit, unit),
        "weight_decay": small,
        "decoupled_weight_decay": st.booleans(),
        "momentum_decay": small,
    },
    "radam": {"betas": st.tuples(unit, unit), "weight_decay": small, "decoupled_weight_decay": st.booleans()},
}
