"""Objects of a run, built from its configuration, with a message for each invalid setting.

A group's file names a class or function by `_target_`. An unknown name, an unknown argument or a rejected value raises
`ConfigError` with the key, the value and the expectation. The same functions check jobs and build runs, so a check
cannot disagree with the run.
"""

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mnist_mlp.base import configuration, schema
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.torch_internals import avoid_compiler_import
from mnist_mlp.build.instantiate import OPTIONAL, call_target, explain_errors, find_target
from mnist_mlp.data.batches import batch_sizes
from mnist_mlp.data.splits import Dataset, Split, Splits, make_splits
from mnist_mlp.network.init import evaluating, initialize, needs_batch
from mnist_mlp.training.optimizers import BatchNorm
from mnist_mlp.training.process import training_settings
from mnist_mlp.training.schedules import Schedule, constant
from mnist_mlp.training.seeds import Seeds, derive_seeds, seed_default_generators

TRIAL_IMAGES = 4
INIT_IMAGES = 1000  # maximum, for an initializer that needs a batch
SPLIT_KEYS = ("train_size", "val_size", "split_seed", "normalize")


@dataclass(frozen=True)
class Parts:
    """Objects of one run (its parts), with data and model on `device`."""

    data: Splits
    data_digest: str
    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule | None  # None does not change the optimizer's learning rates
    device: torch.device
    seeds: Seeds

    def facts(self) -> dict[str, Any]:
        """Return the entries of `run.json` that describe the model and the data."""
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "data": {
                "digest": self.data_digest,
                **self.data.sizes(),
                "inputs": self.data.train.images.shape[1:].numel(),
                "classes": self.data.classes,
                "commonest_test_share": _most_frequent_share(self.data.test),
            },
        }


def build(config: Mapping[str, Any], device: torch.device | None = None) -> Parts:
    """Build the parts of a run.

    Args:
        config: Plain configuration (see `mnist_mlp.base.configuration.plain`).
        device: Device that replaces the configured one.

    Raises:
        ConfigError: The configuration is invalid.
        mnist_mlp.base.errors.UserError: The data are not available.
    """
    tree = copy.deepcopy(dict(config))
    schema.check(tree)
    device = device or find_device(tree["device"])
    seeds = derive_seeds(tree["seed"], **configuration.seeds(tree))

    digest, splits = data_digest(tree["data"]), load_splits(tree["data"])
    if tree.get("save") == schema.BEST and splits.val is None:
        raise ConfigError(f"save={schema.BEST}: expected data.val_size greater than 0, to select the epoch by")
    # A user-defined model may draw weights that `initialize` does not set. Seeded here, they depend on the seed only.
    seed_default_generators(seeds.modules)
    features = splits.train.images.shape[1:].numel()
    model = call_target("model", tree["model"], nn.Module, in_features=features, out_features=splits.classes)
    _check_batches(model, tree["batch_size"], len(splits.train))

    initialize_model(model, tree, splits.train, seeds)
    model = model.to(device)
    avoid_compiler_import()
    optimizer = make_optimizer(tree["optim"], list(model.parameters()))
    schedule = make_schedule(tree["schedule"])
    return Parts(splits.to(device), digest, model, optimizer, schedule, device, seeds)


def make_optimizer(node: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> Optimizer:
    """Create the configured optimizer.

    Args:
        node: Plain configuration of the group `optim`.
        parameters: Parameters of the model, in its order.

    Raises:
        ConfigError: The optimizer cannot be created.
    """
    arguments = dict(node)
    decays_biases = arguments.pop("decay_biases", True)
    return call_target("optim", arguments, Optimizer, _decayed(parameters, decays_biases, arguments))


def _decayed(parameters: Sequence[nn.Parameter], biases: bool, optim: Mapping[str, Any]) -> list[Any]:
    """Return the parameters, or two parameter groups if weight decay does not apply to biases.

    As usual, every parameter with fewer than two dimensions counts as a bias, including BatchNorm's scale and shift.
    """
    if biases:
        return list(parameters)
    if "weight_decay" not in optim:
        raise ConfigError("optim.decay_biases=false: expected true, since no weight_decay is set for this optimizer")
    matrices, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def initialize_model(model: nn.Module, tree: Mapping[str, Any], train: Split, seeds: Seeds) -> None:
    """Set the weights and biases of a model on the CPU.

    Args:
        model: Model, changed in place.
        tree: Plain configuration.
        train: Training split, from which an initializer that needs a batch gets its images.
        seeds: Seeds of the run.

    Raises:
        ConfigError: The initializer does not work with this model.
    """
    node, images = dict(tree["init"]), None
    generator = torch.Generator().manual_seed(seeds.weights)
    bias, bias_std = node.pop("bias"), node.pop("bias_std", None)
    init = find_target("init", node, "the weight", **dict.fromkeys(OPTIONAL))
    with explain_errors("init", node):
        needs_images = needs_batch(init)
    with training_settings(tree["threads"]):
        if needs_images:
            images, _ = train.take(slice(INIT_IMAGES))
            with explain_errors("model", tree["model"]), evaluating(model):
                model(images[:TRIAL_IMAGES])  # so that an error of the model is not attributed to the initializer
        with explain_errors("init", node):
            initialize(model, init, bias, generator, bias_std=bias_std, images=images)


def make_schedule(node: Mapping[str, Any]) -> Schedule | None:
    """Return the configured schedule; None for a constant learning rate without a warm-up."""
    arguments = dict(node)
    warmup = arguments.pop("warmup")
    shape = find_target("schedule", arguments, 0.0)
    return None if shape.func is constant and not warmup else Schedule(shape, warmup)


def _most_frequent_share(split: Split) -> float:
    """Return the share of the most frequent class, the accuracy of a constant prediction."""
    labels = split.labels if split.rows is None else split.labels[split.rows]
    return int(labels.bincount().max()) / len(split)


def total_steps(config: Mapping[str, Any], images: int) -> int:
    """Return the number of training steps of a run with this many training images."""
    return int(config["epochs"]) * len(batch_sizes(images, config["batch_size"]))


def find_device(name: str) -> torch.device:
    """Return the device of this name; `auto` selects the first available one of cuda, mps and cpu.

    Raises:
        ConfigError: This machine has no such device.
    """
    here = [f"cuda:{i}" for i in range(torch.cuda.device_count())] + ["mps"] * torch.backends.mps.is_available()
    here.append("cpu")
    if name == "auto":
        return torch.device(here[0])
    if name not in here and not (name == "cuda" and "cuda:0" in here):
        raise ConfigError(f"device={name}: expected one of auto, {', '.join(here)}. This machine has no such device.")
    return torch.device("cuda:0" if name == "cuda" else name)


def data_digest(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 digest of the configured data set, in hexadecimal.

    Args:
        data: Plain configuration of the group `data`.

    Raises:
        mnist_mlp.base.errors.UserError: The data set is not available.
    """
    return _dataset(json.dumps({k: v for k, v in data.items() if k not in SPLIT_KEYS}, sort_keys=True))[1]


def load_splits(data: Mapping[str, Any]) -> Splits:
    """Return the splits of the configured data set, which are cached.

    Args:
        data: Plain configuration of the group `data`.

    Raises:
        mnist_mlp.base.errors.UserError: The data set is not available, or a split is impossible.
    """
    return _splits(json.dumps(data, sort_keys=True))


# Jobs of one process mostly share their data, so the most recent data sets are cached, with JSON text as the key.
@functools.lru_cache(maxsize=2)
def _dataset(data: str) -> tuple[Dataset, str]:
    node = json.loads(data)
    dataset = call_target("data", node, Dataset)
    with explain_errors("data", node):
        return dataset, dataset.digest()


@functools.lru_cache(maxsize=2)
def _splits(data: str) -> Splits:
    node = json.loads(data)
    split = {key: node.pop(key) for key in SPLIT_KEYS}
    dataset, _ = _dataset(json.dumps(node, sort_keys=True))
    with explain_errors("data", split | {"_target_": node["_target_"]}):
        return make_splits(dataset, **split)


def _check_batches(model: nn.Module, batch_size: int, images: int) -> None:
    has_batch_norm = any(isinstance(m, BatchNorm) for m in model.modules())
    if has_batch_norm and min(batch_size, images) < 2:
        key, value = ("batch_size", batch_size) if batch_size < 2 else ("data.train_size", images)
        raise ConfigError(
            f"{key}={value}: expected at least 2, since BatchNorm needs at least 2 images per batch. "
            f"model.batch_norm=false removes BatchNorm."
        )
