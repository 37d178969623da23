"""Trial of a configuration: its objects are built, and one training step is taken on a few images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mnist_mlp.base import schema
from mnist_mlp.base.errors import ConfigError, InvalidArgument
from mnist_mlp.build.from_config import TRIAL_IMAGES, Parts, build, find_device, make_optimizer, steps_of
from mnist_mlp.build.instantiate import explained
from mnist_mlp.build.rate_check import Values, follows_rates
from mnist_mlp.training.optimizers import set_mode
from mnist_mlp.training.process import prepared_to_train
from mnist_mlp.training.schedules import Schedule, constant
from mnist_mlp.training.step import Step, make_step


def check(config: Mapping[str, Any]) -> Parts:
    """Raise what `build` would raise, and try the schedule, and one training step on a few images.

    An accelerator is left alone.

    Returns:
        What was built and tried, on the CPU.

    Raises:
        mnist_mlp.base.errors.UserError: as `build`, or the parts do not fit together.
    """
    return tried(config).parts


class Trial(NamedTuple):
    """What `check` has built and tried.

    Attributes:
        parts: Parts of the run, on the CPU.
        step: Training step that was taken.
        parameters: Values of each parameter before the update, and the gradient, which may be missing.
    """

    parts: Parts
    step: Step
    parameters: Values


def tried(config: Mapping[str, Any]) -> Trial:
    """Check as `check` does, and return all that was tried."""
    find_device(config["device"])
    schema.check(config)
    with prepared_to_train(config["threads"]):  # with more threads than a run has, the step takes longer
        return _tried(config)


def _tried(config: Mapping[str, Any]) -> Trial:
    parts = build(config, torch.device("cpu"))
    images, labels = parts.data.train.take(slice(0, TRIAL_IMAGES))
    with explained("model", config["model"]):
        logits = parts.model(images)
        shape, expected = tuple(getattr(logits, "shape", ())), (len(labels), parts.data.classes)
        if shape != expected:
            allowed = f"one that gives logits of shape {expected} for {len(labels)} images, not {shape}"
            raise InvalidArgument("_target_", config["model"]["_target_"], allowed)
    with explained("optim", config["optim"]):
        step = make_step(parts.model, parts.optimizer, parts.seeds)
        set_mode(parts.optimizer, training=True)
    with explained("model", config["model"]):
        step.gradients(images, labels)
    parameters = [
        (p.detach().clone(), None if p.grad is None else p.grad.detach().clone()) for p in parts.model.parameters()
    ]
    with explained("optim", config["optim"]):
        step.update()
    try_schedule(parts.schedule, config, len(parts.data.train), parameters)
    return Trial(parts, step, parameters)


def try_schedule(schedule: Schedule | None, config: Mapping[str, Any], images: int, parameters: Values) -> None:
    """Raise what a schedule would raise during the run, and refuse one that the optimizer does not follow.

    Args:
        schedule: Schedule; None leaves the optimizer its rates.
        config: Plain configuration.
        images: Number of training images.
        parameters: Values that the optimizer is tried on, with gradients.

    Raises:
        ConfigError: A factor is no number in [0, 1], or later rates have no effect on this optimizer.
    """
    if not schedule:
        return
    node = config["schedule"]
    with explained("schedule", node):
        is_changing = schedule.try_out(steps_of(config, images))
    if is_changing and not follows_rates(lambda values: make_optimizer(config["optim"], values), parameters):
        key = "warmup" if getattr(schedule.shape, "func", None) is constant else "_target_"
        raise ConfigError(
            f"schedule.{key}={node[key]}: expected schedule=constant with schedule.warmup=0, since changes of the "
            f"learning rate after the first step have no effect on optim._target_={config['optim']['_target_']}."
        )
