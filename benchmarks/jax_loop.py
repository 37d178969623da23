"""JAX and optax: a jitted `lax.scan` over the epoch, of one run or, through `jax.vmap`, of many."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.contenders import BATCH, SIZES, Loop, configuration
from mnist_mlp.data.datasets import mnist


def make(
    optimizer: str, of_all: Callable[..., Any], chosen: Callable[..., Any], seeds: list[int], first: int | None
) -> Loop:
    """A loop in JAX.

    Args:
        optimizer: an option of ours.
        of_all: turns a function of one run into that of all of them.
        chosen: from an array of a key for each run, what those functions take.
        seeds: of the runs.
        first: how many training images are used; None for all.
    """
    options = configuration(optimizer)
    train = mnist(options["data"]["root"]).train
    images = jnp.asarray(train.images[:first].numpy())
    labels = jnp.asarray(train.labels[:first].numpy().astype("int32"))
    options = options["optim"]
    lr = options["lr"]
    update = {
        "sgd": lambda: optax.sgd(lr),
        "momentum": lambda: optax.sgd(lr, momentum=options["momentum"]),
        "nag": lambda: optax.sgd(lr, momentum=options["momentum"], nesterov=True),
        "adagrad": lambda: optax.adagrad(lr, initial_accumulator_value=0.0, eps=options["eps"]),
        "rmsprop": lambda: optax.rmsprop(lr, decay=options["alpha"], eps=options["eps"]),
        "adadelta": lambda: optax.adadelta(lr, rho=options["rho"], eps=options["eps"]),
        "adam": lambda: optax.adam(lr, *options["betas"], eps=options["eps"]),
        "radam": lambda: optax.radam(lr, *options["betas"], eps=options["eps"]),
    }[optimizer]()

    def batch_norm(x, p, running):
        mean, var = x.mean(axis=0), x.var(axis=0)
        unbiased = var * BATCH / (BATCH - 1)
        running = {"mean": 0.9 * running["mean"] + 0.1 * mean, "var": 0.9 * running["var"] + 0.1 * unbiased}
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * p["scale"] + p["shift"], running

    def loss_of(params, running, x, y, key):
        after = []
        for p, statistics in zip(params[:-1], running, strict=True):
            key, here = jax.random.split(key)
            x, statistics = batch_norm(x @ p["w"] + p["b"], p, statistics)
            x = jnp.where(jax.random.bernoulli(here, 0.5, x.shape), jax.nn.relu(x) * 2, 0)
            after.append(statistics)
        logits = x @ params[-1]["w"] + params[-1]["b"]
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss, (after, (logits.argmax(axis=1) == y).sum())

    def train_epoch(carry, key, images, labels):
        shuffle, key = jax.random.split(key)
        order = jax.random.permutation(shuffle, len(images))[: len(images) // BATCH * BATCH].reshape(-1, BATCH)

        def step(carry, index):
            params, running, state, key = carry
            key, here = jax.random.split(key)
            x = images[index].astype(jnp.float32) / 255
            gradient_of = jax.value_and_grad(loss_of, has_aux=True)
            (loss, (running, correct)), gradients = gradient_of(params, running, x, labels[index], here)
            updates, state = update.update(gradients, state, params)
            return (optax.apply_updates(params, updates), running, state, key), (loss, correct)

        (*carry, _), (losses, correct) = jax.lax.scan(step, (*carry, key), order)
        return carry, (losses.mean(), correct.sum())

    def start(key):
        params, running = [], []
        for here, fan_in, fan_out in zip(jax.random.split(key, len(SIZES)), SIZES, SIZES[1:], strict=False):
            bound = (6 / fan_in) ** 0.5
            w = jax.random.uniform(here, (fan_in, fan_out), minval=-bound, maxval=bound)
            layer = {"w": w, "b": jnp.zeros(fan_out)}
            if fan_out != SIZES[-1]:
                layer |= {"scale": jnp.ones(fan_out), "shift": jnp.zeros(fan_out)}
                running.append({"mean": jnp.zeros(fan_out), "var": jnp.ones(fan_out)})
            params.append(layer)
        return params, running, update.init(params)

    epoch_of_all = jax.jit(of_all(train_epoch), donate_argnums=0)
    key_at = of_all(lambda key, epoch: jax.random.fold_in(key, epoch))
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    state = {"carry": jax.jit(of_all(start))(chosen(keys)), "epochs": 0}

    def epoch() -> None:
        key = key_at(chosen(keys), chosen(jnp.full(len(seeds), state["epochs"])))
        state["carry"], result = epoch_of_all(state["carry"], key, images, labels)
        state["epochs"] += 1
        jax.block_until_ready(result)

    return Loop(epoch)
