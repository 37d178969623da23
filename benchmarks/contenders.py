"""Training loops to compare: ours, the floor, the tutorial's, JAX's, and plain PyTorch's.

All train the tutorial's network (784 inputs, two hidden layers (512, 256), 10 outputs, BatchNorm, ReLU, dropout
0.5, He-uniform weights) on MNIST's 60,000 training images in batches of 32, with the learning rates of `conf/optim/`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

BATCH = 32
SIZES = (784, 512, 256, 10)
OPTIMIZERS = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adadelta", "adam", "radam")


@dataclass
class Loop:
    """Training loop of one optimizer and seed, ready to start.

    Attributes:
        epoch: Train an epoch.
        test: Return the accuracy on the test images, in [0, 1]; None if not measured.
    """

    epoch: Callable[[], None]
    test: Callable[[], float] | None = None


def configuration(optimizer: str, **settings: Any) -> dict[str, Any]:
    """Return the plain configuration of `run.py optim=OPTIMIZER data.val_size=0`."""
    from hydra import compose, initialize_config_dir

    from mnist_mlp.app.register import register
    from mnist_mlp.base.configuration import plain

    top = Path(__file__).parents[1]
    register(top / "experiments")
    with initialize_config_dir(str(top / "conf"), version_base="1.3"):
        overrides = [f"{key}={value}" for key, value in settings.items()]
        return plain(compose("config", [f"optim={optimizer}", "data.val_size=0", *overrides]))


def fetch() -> None:
    """Download the data before anything is timed."""
    from mnist_mlp.data.datasets import mnist

    mnist(configuration("sgd")["data"]["root"])


def ours(optimizer: str, seed: int = 0) -> Loop:
    """Return the steps of our training core; records and checks, which `train` adds, take 1% more."""
    import torch

    from mnist_mlp.build.from_config import build
    from mnist_mlp.data.batches import batches
    from mnist_mlp.training.process import apply_training_settings
    from mnist_mlp.training.step import make_step

    apply_training_settings(threads=1)
    parts = build(configuration(optimizer, seed=seed))
    step = make_step(parts.model, parts.optimizer, parts.seeds)
    generator = torch.Generator().manual_seed(parts.seeds.batches)

    def epoch() -> None:
        parts.model.train()
        for index in batches(len(parts.data.train), BATCH, generator):
            step(*parts.data.train.take(index))

    return Loop(epoch)


def floor(optimizer: str, seed: int = 0) -> Loop:
    """Return the floor: matrix products of our step and its update of the parameters, and nothing else."""
    import torch

    from mnist_mlp.build.from_config import build
    from mnist_mlp.network.matmul import matmuls_for
    from mnist_mlp.training.process import apply_training_settings
    from mnist_mlp.training.updates.fused import FusedUpdate

    apply_training_settings(threads=1)
    parts = build(configuration(optimizer, seed=seed))
    weights = [p for p in parts.model.parameters() if p.ndim == 2]
    update = FusedUpdate(parts.optimizer)
    activations = [torch.rand(size, BATCH) for size in SIZES]
    gradients = [torch.randn(size, BATCH) * 1e-4 for size in SIZES]
    for p in parts.model.parameters():
        p.grad = torch.randn_like(p) * 1e-4
    layers = list(zip(weights, map(matmuls_for, weights), activations, gradients[1:], strict=False))

    def epoch() -> None:
        for _ in range(len(parts.data.train) // BATCH):
            for weight, products, x, _ in layers:
                products.forward(weight.detach(), x)
            for number, (weight, products, x, gradient) in reversed(list(enumerate(layers))):
                weight.grad = products.grad_weight(gradient, x)
                if number:
                    products.grad_input(weight.detach(), gradient)
            update()

    return Loop(epoch)


def tutorial(optimizer: str, seed: int = 0) -> Loop:
    """Return the tutorial's loop, rewritten: DataLoader, ToTensor, PyTorch's optimizer with our settings."""
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from mnist_mlp.build.from_config import build

    config = configuration(optimizer)
    train, test = (
        datasets.MNIST(config["data"]["root"], train=is_train, transform=transforms.ToTensor())
        for is_train in (True, False)
    )
    train_loader = DataLoader(train, batch_size=BATCH, shuffle=True)
    test_loader = DataLoader(test, batch_size=BATCH)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = (nn.Linear(a, b) for a, b in pairwise(SIZES))
            self.norm1, self.norm2 = nn.BatchNorm1d(SIZES[1]), nn.BatchNorm1d(SIZES[2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.view(-1, SIZES[0])
            x = F.dropout(F.relu(self.norm1(self.fc1(x))), p=0.5, training=self.training)
            x = F.dropout(F.relu(self.norm2(self.fc2(x))), p=0.5, training=self.training)
            return self.fc3(x)

    torch.manual_seed(seed)
    model = Net()
    for layer in (model.fc1, model.fc2, model.fc3):
        nn.init.kaiming_uniform_(layer.weight)
    ours = build(_with_images(config, BATCH)).optimizer
    update = type(ours)(model.parameters(), **ours.defaults)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> None:
        model.train()
        for images, labels in train_loader:
            update.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            update.step()

    def accuracy() -> float:
        model.eval()
        loss, correct = 0.0, 0
        with torch.no_grad():
            for images, labels in test_loader:
                logits = model(images)
                loss += criterion(logits, labels).item()
                correct += (logits.argmax(dim=1) == labels).sum().item()
        return correct / len(test)

    return Loop(epoch, accuracy)


def jax(optimizer: str, seed: int = 0) -> Loop:
    """Return a loop in JAX and optax: a jitted `lax.scan` over the epoch, its carry donated."""
    from benchmarks import jax_loop

    return jax_loop.make(optimizer, lambda f: f, lambda keys: keys[0], [seed], None)


def jax_stacked(optimizer: str, runs: int, images: int, device: str, tf32: bool = False) -> Loop:
    """Return the same loop for several seeds at once, by `jax.vmap`, on the first images only."""
    import jax

    from benchmarks import jax_loop

    if jax.default_backend() != ("cpu" if device == "cpu" else "gpu"):
        raise RuntimeError(f"JAX is on {jax.default_backend()} only; pip install 'jax[cuda13]' brings it to a GPU")
    # JAX would take TensorFloat-32 on a GPU unasked.
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if tf32 else "float32")

    def of_all(f: Callable[..., Any]) -> Callable[..., Any]:
        shared = {"images": None, "labels": None}
        return jax.vmap(f, in_axes=[shared.get(name, 0) for name in inspect.signature(f).parameters])

    return jax_loop.make(optimizer, of_all, lambda keys: keys, list(range(runs)), images)


def alone(optimizer: str, images: int, device: str) -> Loop:
    """Return one run in plain PyTorch on a device: data as tensors, autograd, the optimizer with its defaults."""
    import torch
    from torch.nn import functional as F

    from mnist_mlp.build.from_config import build
    from mnist_mlp.data.batches import batches
    from mnist_mlp.training.process import apply_training_settings

    apply_training_settings(threads=1)
    parts = build(_with_images(configuration(optimizer), images), torch.device(device))
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        parts.model.train()
        for index in batches(len(parts.data.train), BATCH, generator):
            x, labels = parts.data.train.take(index.to(device))
            parts.optimizer.zero_grad()
            F.cross_entropy(parts.model(x), labels).backward()
            parts.optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return Loop(epoch)


def stacked(optimizer: str, runs: int, images: int, device: str, tf32: bool = False) -> Loop:
    """Return several seeds of one configuration as one stack of ours."""
    import torch

    from mnist_mlp.build.from_config import build
    from mnist_mlp.build.stack_members import run_of
    from mnist_mlp.training.process import apply_training_settings
    from mnist_mlp.training.stack.stack import Stack

    apply_training_settings(threads=1, tf32=tf32)
    cpu = torch.device("cpu")
    config = _with_images(configuration(optimizer), images)
    parts = [build(config | {"seed": seed}, cpu) for seed in range(runs)]
    there = torch.device(device)
    stack = Stack([run_of(part) for part in parts], parts[0].data.to(there), BATCH, there)

    def epoch() -> None:
        stack.epoch()

    return Loop(epoch)


def _with_images(config: dict[str, Any], images: int) -> dict[str, Any]:
    return config | {"data": config["data"] | {"train_size": images}}
