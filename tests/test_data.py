"""Data sets, splits and batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_mlp.data.batches import batch_sizes, batches
from mnist_mlp.data.datasets import digits
from mnist_mlp.data.splits import Dataset, Split, make_splits
from mnist_mlp.run.errors import InvalidArgument


def rows(split: Split) -> torch.Tensor:
    assert split.rows is not None
    return split.rows


def test_mnist_is_the_published_one(real_mnist: Dataset) -> None:
    assert real_mnist.train.images.shape == (60_000, 784)
    assert real_mnist.test.images.shape == (10_000, 784)
    assert real_mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert real_mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    images, _ = real_mnist.train.take(slice(None))
    # The constants that every MNIST example normalises by.
    assert images.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert images.std().item() == pytest.approx(0.3081, abs=1e-4)


def test_digits_need_no_files() -> None:
    data = digits()
    assert (len(data.train), len(data.test), data.classes) == (1498, 299, 10)
    images, labels = data.test.take(slice(None))
    assert (images.min().item(), images.max().item()) == (0, 1)
    assert set(labels.tolist()) == set(range(10))


def numbered(n: int) -> Dataset:
    """A data set whose images are their own numbers."""
    split = Split(torch.arange(n).view(n, 1), torch.arange(n))
    return Dataset(split, split, classes=n)


@given(n=st.integers(2, 200), data=st.data(), seed=st.integers(0, 2**31))
def test_splits_are_disjoint_and_validation_is_fixed(n: int, data: st.DataObject, seed: int) -> None:
    val_size = data.draw(st.integers(1, n - 1))
    train_size = data.draw(st.integers(1, n - val_size))
    small = make_splits(numbered(n), train_size, val_size, seed, normalize=False)
    full = make_splits(numbered(n), None, val_size, seed, normalize=False)
    assert small.val is not None
    assert full.val is not None
    assert torch.equal(rows(small.val), rows(full.val))
    assert small.sizes() == {"train": train_size, "val": val_size, "test": n}
    assert sorted([*rows(full.train).tolist(), *rows(full.val).tolist()]) == list(range(n))
    assert set(rows(small.train).tolist()) <= set(rows(full.train).tolist())


def test_no_validation_keeps_every_training_image() -> None:
    splits = make_splits(numbered(10), None, 0, 0, normalize=False)
    assert splits.val is None
    assert sorted(rows(splits.train).tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("train_size", "val_size", "message"),
    [(None, 10, "val_size=10: allowed is 0 to 9"), (8, 3, "train_size=8: allowed is 1 to 7"), (0, 0, "train_size=0")],
)
def test_sizes_beyond_the_data_are_named(train_size: int | None, val_size: int, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make_splits(numbered(10), train_size, val_size, 0, normalize=False)


def test_normalised_pixels_have_mean_zero_and_std_one(real_mnist: Dataset) -> None:
    splits = make_splits(real_mnist, 500, 100, 0, normalize=True)
    images, _ = splits.train.take(slice(None))
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std().item() == pytest.approx(1, abs=1e-4)
    assert (splits.test.mean, splits.test.std) == (splits.train.mean, splits.train.std)


@given(n=st.integers(1, 500), batch_size=st.integers(1, 64), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_has_every_image_once_and_no_batch_of_one(n: int, batch_size: int, seed: int) -> None:
    epoch = batches(n, batch_size, torch.Generator().manual_seed(seed))
    assert sorted(torch.cat(epoch).tolist()) == list(range(n))
    sizes = [len(batch) for batch in epoch]
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size + 1
    if min(n, batch_size) > 1:
        assert 1 not in sizes
    again = batches(n, batch_size, torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(epoch, again, strict=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_taking_images_leaves_the_data_alone(dtype: torch.dtype) -> None:
    split = Split(torch.arange(6).view(3, 2).to(dtype), torch.zeros(3, dtype=torch.int64), mean=1.0, std=2.0)
    before = split.images.clone()
    for index in (slice(0, 2), torch.tensor([0, 1])):
        images, _ = split.take(index)
        assert images.dtype == torch.float32
        assert images.tolist() == [[-0.5, 0.0], [0.5, 1.0]]
    assert torch.equal(split.images, before)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(4, 2, 2), torch.zeros(4).long(), r"images=torch.float32 of shape \(4, 2, 2\): allowed is"),
        (torch.zeros(4, 2), torch.zeros(3).long(), r"labels=torch.int64 of shape \(3,\): allowed is"),
        (torch.zeros(4, 2), torch.zeros(4), "labels=torch.float32"),
        ([[0.0]], torch.zeros(1).long(), "images=list"),
        (torch.zeros(4, 2), torch.full((4,), 7), "labels=7 to 7: allowed is 0 to 6"),
        (torch.zeros(4, 2), torch.full((4,), -1), "labels=-1 to -1: allowed is 0 to 6"),
    ],
)
def test_a_malformed_data_set_is_named(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Dataset(Split(images, labels), Split(images, labels), classes=7)


@given(n=st.integers(1, 300), batch_size=st.integers(1, 64))
def test_batches_are_of_one_size_but_for_the_last(n: int, batch_size: int) -> None:
    *others, last = batch_sizes(n, batch_size)
    assert sum(others) + last == n
    assert set(others) <= {batch_size}
    assert last <= batch_size + 1
    assert last > 1 or n == 1 or batch_size == 1


def test_the_digest_knows_one_pixel(real_mnist: Dataset) -> None:
    first = digits()
    assert first.digest() == digits().digest() != real_mnist.digest()
    first.train.images[0, 0] += 1
    assert first.digest() != digits().digest()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.tensor([1, 4]), "rows=1 to 4: allowed is 0 to 3"),
        (torch.tensor([-1]), "rows=-1 to -1: allowed is 0 to 3"),
        (torch.tensor([1.0]), r"rows=torch.float32 of shape \(1,\): allowed is"),
        (torch.tensor([], dtype=torch.int64), r"rows=torch.int64 of shape \(0,\): allowed is"),
    ],
)
def test_a_split_of_rows_that_are_not_there_is_named(rows: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Split(torch.zeros(4, 2), torch.zeros(4).long(), rows=rows)


def test_one_tensor_may_hold_training_and_test_images() -> None:
    images, labels = torch.arange(10).view(10, 1).to(torch.uint8), torch.zeros(10).long()
    train, test = (Split(images, labels, rows=part) for part in torch.arange(10).split(5))
    splits = make_splits(Dataset(train, test, classes=1), None, val_size=2, split_seed=0, normalize=False)
    assert splits.val is not None
    seen = [split.take(slice(None))[0].flatten().tolist() for split in (splits.train, splits.val, splits.test)]
    assert sorted(seen[0] + seen[1]) == [0, 1, 2, 3, 4]
    assert seen[2] == [5, 6, 7, 8, 9]


def test_a_split_is_the_same_wherever_its_rows_lie(real_mnist: Dataset) -> None:
    train = make_splits(real_mnist, train_size=50, val_size=10, split_seed=0, normalize=True).train
    compact = Split(train.images[rows(train)], train.labels[rows(train)], train.mean, train.std)
    as_floats = Split(compact.images.float(), compact.labels, train.mean, train.std)
    for index in (slice(3, 20), torch.tensor([49, 0, 7])):
        images, labels = train.take(index)
        for other in (compact, as_floats):
            assert torch.equal(other.take(index)[1], labels)
            torch.testing.assert_close(other.take(index)[0], images)
    pixels = compact.images.double()
    assert train.mean == pytest.approx(pixels.mean().item())
    assert train.std == pytest.approx(pixels.std(correction=0).item())
