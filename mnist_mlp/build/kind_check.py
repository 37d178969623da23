"""Check of many configurations of one kind: the first is tried as a whole, the others only by their numbers.

Configurations of one kind differ only in seeds and numbers. The initializer, the optimizer or the schedule may reject a
number. Trying these three does not need a training step of the model, which takes most of the time of a check. A
configuration that fails this quick check is tried as a whole, so all messages are those of
`mnist_mlp.build.trial.check`.
"""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mnist_mlp.base.configuration import NUMBERED, seeds
from mnist_mlp.base.torch_internals import has_gradient_hooks
from mnist_mlp.build import from_config, trial
from mnist_mlp.build.from_config import Parts
from mnist_mlp.build.instantiate import OPTIONAL, find_target
from mnist_mlp.data.batches import batch_sizes
from mnist_mlp.network.init import needs_batch
from mnist_mlp.training.fused import backprop
from mnist_mlp.training.optimizers import needs_only_gradients, set_mode
from mnist_mlp.training.process import training_settings
from mnist_mlp.training.seeds import derive_seeds
from mnist_mlp.training.updates import fused

SMALL = 4  # elements along each dimension of the parameters that optimizers are tried on
TIMED_STEPS = 10
WARM_UP_STEPS = 3


class KindCheck:
    """Check of configurations of one kind (see `mnist_mlp.base.configuration.kind`).

    Args:
        config: Plain configuration of the first job, which is tried as a whole.

    Attributes:
        parts: Parts of the first job, on the CPU.

    Raises:
        mnist_mlp.base.errors.UserError: The first job cannot run.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.parts, self._step, parameters = trial.run_trial(config)
        self._init = _text(config["init"])
        self._suits_backprop = backprop.supports(self.parts.model)
        # A known optimizer accepts a small parameter if it accepts a large one. A user-defined one may not.
        self._is_known = needs_only_gradients(self.parts.optimizer)
        self._parameters = list(map(_shrink, parameters)) if self._is_known else parameters
        self._passed = {*self._texts(config).items()}

    def check(self, config: Mapping[str, Any]) -> None:
        """Check another configuration of the kind, whose numbers are within the ranges of the schema.

        Raises:
            mnist_mlp.base.errors.UserError: The job cannot run.
        """
        new = {*self._texts(config).items()} - self._passed
        if new and not self._is_valid(config, {group for group, _ in new}):
            trial.check(config)
        self._passed |= new

    def _texts(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return a text for each group in `NUMBERED`. The check of a group depends on nothing but this text."""
        texts = {group: _text(config[group]) for group in NUMBERED}
        if not self._is_known and texts["init"] != self._init:  # the optimizer gets other gradients than the first job
            texts["init"] = texts["optim"] = texts["init"] + texts["optim"]
        return texts

    def _is_valid(self, config: Mapping[str, Any], groups: set[str]) -> bool:
        """Return whether the numbers of these groups are valid for sure. False requires a trial as a whole."""
        if "init" in groups and not (self._is_known and self._suits_backprop):  # user-defined code may reject weights
            return False
        try:
            with training_settings(config["threads"]):
                if "init" in groups:
                    self._try_init(config)
                if "optim" in groups:
                    self._try_optimizer(config)
                if "schedule" in groups or not self._is_known:
                    schedule = from_config.make_schedule(config["schedule"])
                    trial.try_schedule(schedule, config, len(self.parts.data.train), self._parameters)
        except Exception:  # possibly from user-defined code; `trial.check` explains it
            return False
        return True

    def _try_init(self, config: Mapping[str, Any]) -> None:
        """Initialize the weights again."""
        node = {key: value for key, value in config["init"].items() if key not in ("bias", "bias_std")}
        if needs_batch(find_target("init", node, "the weight", **dict.fromkeys(OPTIONAL))):
            raise ValueError("the statistics of BatchNorm are no longer the initial ones")
        from_config.initialize_model(
            self.parts.model, config, self.parts.data.train, derive_seeds(config["seed"], **seeds(config))
        )

    def _try_optimizer(self, config: Mapping[str, Any]) -> None:
        """Create the optimizer, and take one step on copies of the parameters, or on small ones like them."""
        parameters = [nn.Parameter(value.clone()) for value, _ in self._parameters]
        for p, of_model, (_, gradient) in zip(parameters, self.parts.model.parameters(), self._parameters, strict=True):
            p.requires_grad_(of_model.requires_grad)
            p.grad = None if gradient is None else gradient.clone()
        optimizer = from_config.make_optimizer(config["optim"], parameters)
        if type(optimizer) is not type(self.parts.optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not the optimizer that has been tried")
        if {p for group in optimizer.param_groups for p in group["params"]} != set(parameters):
            raise ValueError("the optimizer leaves out parameters")
        if any(map(has_gradient_hooks, parameters)):
            raise ValueError("the optimizer takes part in the backward pass")
        set_mode(optimizer, training=True)
        is_fused = self._suits_backprop and fused.supports(optimizer)
        (fused.FusedUpdate(optimizer) if is_fused else optimizer.step)()

    def step_seconds(self, config: Mapping[str, Any]) -> float | None:
        """Return the median time of a training step in seconds; None if the device is not a CPU.

        The steps change the weights of the first job.

        Args:
            config: Plain configuration of the first job.
        """
        if from_config.find_device(config["device"]).type != "cpu":
            return None
        train = self.parts.data.train
        size, seconds = max(batch_sizes(len(train), config["batch_size"])), []
        self.parts.model.train()
        with training_settings(config["threads"]):
            for _ in range(WARM_UP_STEPS + TIMED_STEPS):
                started = time.perf_counter()
                self._step(*train.take(torch.arange(size)))
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[WARM_UP_STEPS:])


def parts_like(parts: Parts, config: Mapping[str, Any]) -> Parts:
    """Return parts on the CPU with the optimizer of a configuration. All other parts may be the given ones.

    Args:
        parts: Parts of a configuration of the same kind, on the CPU.
        config: Plain configuration.

    Raises:
        mnist_mlp.base.errors.UserError: The optimizer cannot be created.
    """
    if not needs_only_gradients(parts.optimizer):  # the optimizer may have changed the model
        return from_config.build(config, torch.device("cpu"))
    return replace(parts, optimizer=from_config.make_optimizer(config["optim"], list(parts.model.parameters())))


def _shrink(parameter: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Return random values and gradient of a small parameter with as many dimensions; no gradient if none is given."""
    value, gradient = parameter
    shape, random = [min(n, SMALL) for n in value.shape], torch.Generator().manual_seed(0)
    few, few_gradient = (torch.randn(shape, generator=random).to(value.dtype) for _ in range(2))
    return few, None if gradient is None else few_gradient


def _text(node: Mapping[str, Any]) -> str:
    return json.dumps(node, sort_keys=True)
