"""Stack of R runs on a device, and the steps that they take together."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from joblib import cpu_count
from torch import Tensor

from mnist_mlp.data.batches import batch_sizes, order
from mnist_mlp.data.splits import Split, Splits
from mnist_mlp.network import dropout
from mnist_mlp.training.loop import EVALUATION_BATCH
from mnist_mlp.training.optimizers import Statistics, set_mode
from mnist_mlp.training.schedules import Rates
from mnist_mlp.training.stack.cuda_graph import GraphCallable
from mnist_mlp.training.stack.layers import Segment, layers_of, layers_to_train
from mnist_mlp.training.stack.parameters import Parameters, groups_of
from mnist_mlp.training.stack.parts import Dropout
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.steps import RunOptimizer, make_updates, step_method
from mnist_mlp.training.stack.toolchain import Toolchain
from mnist_mlp.training.stack.torch_compile import Wrap, eager

CHUNK_BYTES = 32 * 2**20  # limit of the data that the host prepares for several steps at once
COMPILE_FROM = 16  # runs; for fewer, by estimate, compilation takes longer than it saves in ten epochs
EVALUATION_BYTES = 256 * 2**20  # limit of the widest activations of an evaluation


class Chunk:
    """Inputs of several steps of one batch size, prepared by the host, and the results of these steps.

    All tensors are on the device. Runs with equal seeds share a stream of batches and dropout masks, so `images` and
    `keep_masks` have one entry per stream.

    Args:
        stack: Stack that takes the steps.
        batch: Images per step and run.
        steps: Number of steps of this batch size in an epoch.

    Attributes:
        capacity: Maximum number of steps.
        position: Position of the next step, int64 of shape (1,).
        images: Positions of images in the training split, int64 of shape (capacity, streams, batch).
        keep_masks: Keep mask of each dropout layer, bool of shape (capacity, streams, features, batch).
        coefficients: Coefficients of each block of `Stack.blocks`, of shape (capacity, coefficients, runs).
        losses: Mean losses in nats before the update of each step, of shape (capacity, R).
        correct: Numbers of correctly classified images, int64 of shape (capacity, R).
    """

    def __init__(self, stack: "Stack", batch: int, steps: int) -> None:
        device, dtype, runs = stack.device, stack.parameters.values.dtype, len(stack.runs)
        streams = len(stack.streams)
        bytes_a_step = streams * batch * (8 + sum(features for features, _ in stack.dropouts))
        self.batch = batch
        self.capacity = max(1, min(steps, CHUNK_BYTES // bytes_a_step))
        self.position = torch.zeros(1, dtype=torch.int64, device=device)
        self.images = torch.zeros(self.capacity, streams, batch, dtype=torch.int64, device=device)
        self.keep_masks = [
            torch.zeros(self.capacity, streams, features, batch, dtype=torch.bool, device=device)
            for features, _ in stack.dropouts
        ]
        self.coefficients = [
            torch.zeros(self.capacity, *block.table(range(1, 2)).shape[1:], dtype=dtype, device=device)
            for block in stack.blocks
        ]
        self.losses = torch.zeros(self.capacity, runs, dtype=dtype, device=device)
        self.correct = torch.zeros(self.capacity, runs, dtype=torch.int64, device=device)
        # A batch size that occurs once per epoch, such as that of the last batch, is not worth the memory of a graph.
        self.step = GraphCallable(lambda: stack.step(self), stack.capture if steps > 1 else None)


class Stack:
    """R models with their optimizers on a device.

    Args:
        runs: Runs with one architecture and equal parameter groups. Runs with the same `StepMethod` must be adjacent.
        data: Splits on the device.
        batch_size: Images per step and run.
        device: Device of the stack.
        compile: Compile elementwise operations; None compiles stacks of at least `COMPILE_FROM` runs on a CUDA device.
        epochs: Number of epochs of the training, for schedules.
        toolchain: Compiler and CUDA-graph capture; None creates them for this stack.

    Attributes:
        steps: Number of steps that have been taken.
        failed: Exceptions that optimizers have raised, by the row of the run.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        data: Splits,
        batch_size: int,
        device: torch.device,
        compile: bool | None = None,
        epochs: int = 1,
        toolchain: Toolchain | None = None,
    ) -> None:
        self.runs, self.data, self.device = runs, data, device
        if compile is None:
            compile = device.type == "cuda" and len(runs) >= COMPILE_FROM
        toolchain = toolchain or Toolchain()
        wrap: Wrap = toolchain.compiler if compile else eager
        self.capture = toolchain.capture if device.type == "cuda" else None
        models, methods = [run.model for run in runs], [step_method(run) for run in runs]
        self.parameters = Parameters(models, device, groups_of(models[0], runs[0].optimizer))
        self.layers = layers_of(models, self.parameters, data.train.images.shape[1], wrap, batch_size)
        self.batch_size, self.steps = batch_size, 0
        self.sizes = batch_sizes(len(data.train), batch_size)
        self.rates = [Rates(run.optimizer, run.schedule, epochs * len(self.sizes)) for run in runs]
        self.failed: dict[int, BaseException] = {}
        self.blocks, self.own = make_updates(runs, self.rates, self.parameters, methods, wrap)
        self.own_of = {own.row: own for own in self.own}
        self.threads = cpu_count() if device.type == "cuda" else 1  # number of threads that draw dropout masks
        self.loss = wrap(mean_cross_entropy)
        self.segments = [layer for layer in self.layers if isinstance(layer, Segment)]
        self.dropouts = [(s.features, part) for s in self.segments for part in s.parts if isinstance(part, Dropout)]

        # Runs with equal seeds of batches and of dropout share one stream of batches and masks.
        seeds = [(run.seeds.batches, run.seeds.dropout) for run in runs]
        self.streams = list(dict.fromkeys(seeds))
        self.stream_of = torch.tensor([self.streams.index(seed) for seed in seeds], device=device)
        self.orders = [torch.Generator().manual_seed(batch_seed) for batch_seed, _ in self.streams]
        self.masks = [dropout.rng_stream(dropout_seed) for _, dropout_seed in self.streams]

        counts = {size: self.sizes.count(size) for size in self.sizes}  # the last batch mostly has another size
        self.chunks = {size: Chunk(self, size, count) for size, count in counts.items()}
        self._warm_up()

    @torch.no_grad()
    def _warm_up(self) -> None:
        """Compile and capture the steps before training, so that this does not count as training time.

        This takes steps on arbitrary inputs. Afterwards, parameters, buffers and optimizer state are restored.
        """
        kept = [self.parameters.values, *(array for block in self.blocks for array in block.state)]
        kept += [buffer for run in self.runs for buffer in run.model.buffers()]  # views of the stack's buffers
        before = [tensor.clone() for tensor in kept]
        for chunk in self.chunks.values():
            for _ in range(chunk.step.calls_until_fast):
                chunk.position.zero_()
                chunk.step()
        for tensor, values in zip(kept, before, strict=True):
            tensor.copy_(values)

    def epoch(self) -> tuple[Tensor, Tensor]:
        """Train for one epoch.

        Returns:
            Losses of each step in nats, of shape (steps, R), and numbers of correctly classified images, of shape (R,),
            both on the CPU.
        """
        self._set_mode(training=True)
        orders = torch.stack([order(len(self.data.train), generator) for generator in self.orders])  # (streams, n)
        losses = torch.empty(len(self.sizes), len(self.runs), dtype=self.parameters.values.dtype, device=self.device)
        correct = torch.zeros(len(self.runs), dtype=torch.int64, device=self.device)
        step = image = 0
        while step < len(self.sizes):
            chunk = self.chunks[self.sizes[step]]
            count = min(chunk.capacity, self.sizes[step:].count(chunk.batch))
            images = orders[:, image : image + count * chunk.batch].view(-1, count, chunk.batch).transpose(0, 1)
            self.prepare(chunk, images)
            for _ in range(count):
                chunk.step()
                self._each_own(RunOptimizer.update)
            losses[step : step + count] = chunk.losses[:count]
            correct += chunk.correct[:count].sum(dim=0)
            step, image = step + count, image + count * chunk.batch
            self.steps += count
        return losses.cpu(), correct.cpu()

    def lr(self, row: int, step: int) -> float:
        """Return the learning rate to record for a run at a past step. A failed run keeps the rate of its last step."""
        own = self.own_of.get(row)
        return own.lrs[min(step, len(own.lrs) - 1)] if own else self.rates[row].at(step)

    def prepare_evaluation(self) -> None:
        """Put optimizers that have modes into evaluation mode, and recompute the BatchNorm statistics of their runs."""
        self._set_mode(training=False)
        for run in self.runs if self.steps else ():
            Statistics(run.model, run.optimizer).renew(self.data.train)

    def _set_mode(self, training: bool) -> None:
        self._each_own(lambda own: set_mode(own.optimizer, training))

    def _each_own(self, do: Callable[[RunOptimizer], object]) -> None:
        """Call a function with each optimizer that takes its own steps. An exception ends only the optimizer's run."""
        for own in list(self.own):
            try:
                do(own)
            except torch.OutOfMemoryError:
                raise
            except (Exception, SystemExit) as error:  # from user-defined code
                self.own.remove(own)
                self.failed[own.row] = error

    def prepare(self, chunk: Chunk, images: Tensor) -> None:
        """Prepare the inputs of the next steps on the host, and copy them to the device asynchronously.

        Args:
            chunk: Chunk for steps of this batch size.
            images: Positions of images in the training split, int64 of shape (steps, streams, batch).
        """
        count = len(images)
        put(chunk.images, images.contiguous())
        kept = [host_tensor((count, *there.shape[1:]), torch.bool, self.device) for there in chunk.keep_masks]
        with ThreadPoolExecutor(self.threads) as threads:  # NumPy releases the GIL while it draws
            list(threads.map(lambda number: self._draw(number, chunk.batch, kept), range(len(self.streams))))
        for there, here in zip(chunk.keep_masks, kept, strict=True):
            put(there, here)
        for block, table in zip(self.blocks, chunk.coefficients, strict=True):
            values = block.table(range(self.steps + 1, self.steps + count + 1))
            put(table, torch.from_numpy(values).to(table.dtype))
        chunk.position.zero_()

    def _draw(self, number: int, batch: int, kept: Sequence[Tensor]) -> None:
        """Draw the keep masks of one stream for several steps.

        Args:
            number: Index of the stream.
            batch: Images per step and run.
            kept: Keep mask of each dropout layer, bool of shape (steps, streams, features, batch), to be filled.
        """
        words = [layer.sampler.words(features * batch) for features, layer in self.dropouts]
        count = len(kept[0]) if kept else 0
        bits = self.masks[number].random_raw(count * sum(words)).reshape(count, sum(words))
        first = 0
        for (features, layer), size, here in zip(self.dropouts, words, kept, strict=True):
            kind, threshold, _ = layer.sampler
            numbers = bits[:, first : first + size].view(kind)[:, : features * batch]
            np.greater_equal(numbers.reshape(count, features, batch), threshold, out=here[:, number].numpy())
            first += size

    def _bind(self, chunk: Chunk) -> None:
        """Set the keep masks of a chunk in the dropout layers."""
        for (_, layer), kept in zip(self.dropouts, chunk.keep_masks, strict=True):
            layer.keep_masks = (kept, chunk.position, self.stream_of)

    @torch.no_grad()
    def step(self, chunk: Chunk) -> None:
        """Take the next step of a chunk: compute losses and gradients, then apply the update functions."""

        def here(prepared: Tensor) -> Tensor:
            return prepared.index_select(0, chunk.position).squeeze(0)

        images, labels = self.data.train.take(here(chunk.images).flatten())  # streams * batch images
        x = images.view(len(self.streams), chunk.batch, -1).to(self.parameters.values.dtype)
        x = x.index_select(0, self.stream_of).transpose(1, 2)  # (R, pixels, batch)
        labels = labels.view(len(self.streams), chunk.batch).index_select(0, self.stream_of)  # (R, batch)
        self._bind(chunk)
        for block, table in zip(self.blocks, chunk.coefficients, strict=True):
            block.coefficients = here(table)

        for layer in self.layers:
            x = layer.forward(x)
        loss, correct, gradient = (self.loss if chunk.batch == self.batch_size else mean_cross_entropy)(x, labels)
        chunk.losses.index_copy_(0, chunk.position, loss[None])
        chunk.correct.index_copy_(0, chunk.position, correct[None])
        layers = layers_to_train(self.layers)
        for layer in reversed(layers):
            gradient = layer.backward(gradient, needs_input_grad=layer is not layers[0])
        for block in self.blocks:
            block.update()
        chunk.position += 1

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[list[float], list[float]]:
        """Return mean cross-entropy in nats and accuracy in [0, 1] of each run, in evaluation mode."""
        runs, device, dtype = len(self.runs), self.device, self.parameters.values.dtype
        widest = max(split.images.shape[1], *(layer.features for layer in self.layers))
        batch = min(EVALUATION_BATCH, max(1, EVALUATION_BYTES // (widest * runs * dtype.itemsize)))
        loss = torch.zeros(runs, dtype=dtype, device=device)
        correct = torch.zeros(runs, dtype=torch.int64, device=device)
        for start in range(0, len(split), batch):
            images, labels = split.take(slice(start, start + batch))
            x = images.to(dtype).t()[None]  # (1, pixels, batch)
            for layer in self.layers:
                x = layer.evaluate(x)
            losses, correct_here, _ = mean_cross_entropy(x, labels.expand(runs, -1))
            loss += losses * len(labels)
            correct += correct_here
        return (loss.cpu().double() / len(split)).tolist(), (correct.cpu().double() / len(split)).tolist()


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the mean cross-entropy of a batch, its gradient, and the number of correct images.

    Args:
        logits: Logits of shape (R, classes, batch), or (1, classes, batch) if all runs share them.
        labels: Labels, int64 of shape (R, batch), each in 0..classes-1.

    Returns:
        Losses in nats, of shape (R,); numbers of correctly classified images, of shape (R,); gradients of the losses
        with respect to the logits, of shape (R, classes, batch).
    """
    log_probabilities = torch.log_softmax(logits, dim=1)
    is_label = torch.arange(logits.shape[1], device=logits.device)[:, None] == labels[:, None, :]
    losses = -torch.where(is_label, log_probabilities, 0.0).sum(dim=1)
    correct = (logits.argmax(dim=1) == labels).sum(dim=1)
    gradient = (log_probabilities.exp() - is_label.to(logits.dtype)) / labels.shape[1]
    return losses.mean(dim=1), correct, gradient


def host_tensor(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return an uninitialized tensor on the host, which can be copied to the device asynchronously."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")


def put(there: Tensor, here: Tensor) -> None:
    """Copy a host tensor to the first rows of a device tensor, without waiting for the device."""
    if there.device.type == "cuda" and not here.is_pinned():
        here = here.pin_memory()
    there[: len(here)].copy_(here, non_blocking=there.device.type == "cuda")
