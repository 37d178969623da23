"""Training loop: comparison with a plain PyTorch loop, records, reproducibility and divergence."""

import math

import pytest
import torch
from torch.nn import functional as F

from mnist_mlp.base.record import Diverged, Metrics, Record, StepLoss
from mnist_mlp.data.batches import batches
from mnist_mlp.data.splits import Dataset, Split, Splits, make_splits
from mnist_mlp.training.loop import evaluate
from mnist_mlp.training.seeds import derive_seeds
from tests.helpers.training import adam, network, run, sgd, started, timeless


def test_train_with_sgd_equals_plain_pytorch_loop(few_splits: Splits) -> None:
    ours = network(dropout=0.0)
    run(few_splits, sgd, epochs=2, model=ours)

    theirs = network(dropout=0.0)
    optimizer = sgd(theirs.parameters())
    assert few_splits.train.rows is not None
    seeds = derive_seeds(0)
    order = torch.Generator().manual_seed(seeds.batches)
    for _ in range(2):
        for index in batches(len(few_splits.train), 32, order):
            images, labels = (
                few_splits.train.images[few_splits.train.rows[index]] / 255,
                few_splits.train.labels[few_splits.train.rows[index]],
            )
            optimizer.zero_grad()
            F.nll_loss(F.log_softmax(theirs(images), dim=1), labels).backward()
            optimizer.step()
    for (name, ours_value), theirs_value in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(ours_value, theirs_value, msg=name)


def test_train_for_12_epochs_improves_accuracy_and_loss(few_splits: Splits) -> None:
    records = [r for r in run(few_splits, epochs=12) if isinstance(r, Metrics) and r.split == "test"]
    assert [r.epoch for r in records] == list(range(13))
    assert records[0].accuracy < 0.25
    assert records[-1].accuracy > 0.75
    assert records[-1].loss < records[0].loss


def test_train_records_have_expected_epochs_steps_and_rates(few_splits: Splits) -> None:
    records = run(few_splits, epochs=2)
    metrics = [r for r in records if isinstance(r, Metrics)]
    assert [(r.epoch, r.split) for r in metrics] == [(e, s) for e in range(3) for s in ("train", "val", "test")]
    assert [r.step for r in metrics] == [0, 0, 0, 13, 13, 13, 26, 26, 26]  # 400 images: 12 batches of 32, one of 16
    assert [(r.step, r.epoch) for r in records if isinstance(r, StepLoss)] == [
        (5, 1),
        (10, 1),
        (15, 2),
        (20, 2),
        (25, 2),
    ]
    assert all(r.lr == 0.01 for r in records)
    seconds = [r.seconds for r in metrics]
    assert seconds[0] == 0
    assert seconds == sorted(seconds)


def test_train_metrics_of_each_split_equal_its_evaluation(few_splits: Splits) -> None:
    model = network()
    rows = {r.split: (r.loss, r.accuracy) for r in run(few_splits, epochs=1, model=model) if isinstance(r, Metrics)}
    assert few_splits.val is not None
    assert rows["val"] == evaluate(model, few_splits.val)
    assert rows["test"] == evaluate(model, few_splits.test)
    assert rows["val"] != rows["test"]


def test_train_without_validation_records_train_and_test_only(real_mnist: Dataset) -> None:
    data = make_splits(real_mnist, train_size=100, val_size=0, split_seed=0, normalize=False)
    assert {r.split for r in run(data, epochs=1) if isinstance(r, Metrics)} == {"train", "test"}


def test_train_metrics_average_over_images_not_batches(few_splits: Splits) -> None:
    model = network(batch_norm=False, dropout=0.0)
    frozen = run(few_splits, lambda p: torch.optim.SGD(p, lr=0.0), epochs=1, model=model)
    before, after = (r for r in frozen if isinstance(r, Metrics) and r.split == "train")
    assert after.loss == pytest.approx(before.loss, rel=1e-5)  # the last batch is half as large as the others
    assert after.accuracy == pytest.approx(before.accuracy)


def test_train_with_equal_seeds_gives_equal_records(few_splits: Splits) -> None:
    assert timeless(run(few_splits, seed=3)) == timeless(run(few_splits, seed=3))
    assert timeless(run(few_splits, seed=3)) != timeless(run(few_splits, seed=4))


def test_train_optimizers_share_initial_weights_and_batches(
    few_splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[torch.Tensor] = []
    take = Split.take

    def watched(split: Split, index: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = take(split, index)
        if isinstance(index, torch.Tensor):  # a training batch; an evaluation takes slices
            taken.append(images.clone())
        return images, labels

    monkeypatch.setattr(Split, "take", watched)
    starts, seen = [], []
    for make in (adam, sgd):
        taken.clear()
        starts.append(timeless(run(few_splits, make, epochs=1, model=network(derive_seeds(0).weights)))[:3])
        seen.append(list(taken))
    assert starts[0] == [r._replace(lr=0.01) for r in starts[1]]
    assert len(seen[0]) == 13
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_train_last_batch_of_one_is_merged_for_batch_norm(real_mnist: Dataset) -> None:
    data = make_splits(real_mnist, train_size=33, val_size=0, split_seed=0, normalize=False)
    assert [r.step for r in run(data, epochs=1) if isinstance(r, Metrics)][-1] == 1


def test_train_divergence_raises_at_its_step(few_splits: Splits) -> None:
    class Exploding(torch.optim.SGD):
        steps = 0

        def step(self, closure: object = None) -> None:  # type: ignore[override]
            self.steps += 1
            if self.steps == 7:
                with torch.no_grad():
                    for p in self.param_groups[0]["params"]:
                        p.fill_(math.inf)

    records: list[Record] = []
    with pytest.raises(Diverged, match="the training loss is nan at step 8, in epoch 1"):
        records.extend(started(few_splits, lambda parameters: Exploding(parameters, lr=0.1)))
    last = records[-1]
    assert isinstance(last, StepLoss)
    assert last.step == 8
    assert math.isnan(last.loss)
    assert {r.epoch for r in records if isinstance(r, Metrics)} == {0}


def test_evaluate_returns_exact_metrics_and_leaves_model_unchanged(few_splits: Splits) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss, accuracy = evaluate(model, few_splits.test)
    images, labels = few_splits.test.take(slice(None))
    logits = model.eval()(images)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == labels).double().mean().item()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
