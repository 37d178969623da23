"""Data sets, splits and batches."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import InvalidArgument, InvalidData
from mnist_mlp.data.batches import batch_sizes, batches
from mnist_mlp.data.datasets import digits
from mnist_mlp.data.splits import Dataset, Split, make_splits
from tests.helpers.composing import composed, refused


def rows(split: Split) -> torch.Tensor:
    assert split.rows is not None
    return split.rows


def test_mnist_has_published_images_and_labels(real_mnist: Dataset) -> None:
    assert real_mnist.train.images.shape == (60_000, 784)
    assert real_mnist.test.images.shape == (10_000, 784)
    assert real_mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert real_mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    images, _ = real_mnist.train.take(slice(None))
    # Usual constants for normalizing MNIST.
    assert images.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert images.std().item() == pytest.approx(0.3081, abs=1e-4)


def test_digits_without_files_have_documented_sizes_and_range() -> None:
    data = digits()
    assert (len(data.train), len(data.test), data.classes) == (1498, 299, 10)
    images, labels = data.test.take(slice(None))
    assert (images.min().item(), images.max().item()) == (0, 1)
    assert set(labels.tolist()) == set(range(10))


def numbered(n: int) -> Dataset:
    """Return a data set in which the pixel of image i is i."""
    split = Split(torch.arange(n).view(n, 1), torch.arange(n))
    return Dataset(split, split, classes=n)


@given(n=st.integers(2, 200), data=st.data(), seed=st.integers(0, 2**31))
def test_make_splits_are_disjoint_and_validation_is_fixed(n: int, data: st.DataObject, seed: int) -> None:
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


def test_make_splits_without_validation_keeps_every_training_image() -> None:
    splits = make_splits(numbered(10), None, 0, 0, normalize=False)
    assert splits.val is None
    assert sorted(rows(splits.train).tolist()) == list(range(10))


@pytest.mark.parametrize(
    ("train_size", "val_size", "message"),
    [(None, 10, "val_size=10: expected 0 to 9"), (8, 3, "train_size=8: expected 1 to 7"), (0, 0, "train_size=0")],
)
def test_make_splits_size_beyond_data_raises(train_size: int | None, val_size: int, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make_splits(numbered(10), train_size, val_size, 0, normalize=False)


def test_make_splits_normalized_pixels_have_mean_0_and_std_1(real_mnist: Dataset) -> None:
    splits = make_splits(real_mnist, 500, 100, 0, normalize=True)
    images, _ = splits.train.take(slice(None))
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std().item() == pytest.approx(1, abs=1e-4)
    assert (splits.test.mean, splits.test.std) == (splits.train.mean, splits.train.std)


@given(n=st.integers(1, 500), batch_size=st.integers(1, 64), seed=st.integers(0, 2**32 - 1))
def test_batches_have_every_image_once_and_no_batch_of_one(n: int, batch_size: int, seed: int) -> None:
    epoch = batches(n, batch_size, torch.Generator().manual_seed(seed))
    assert sorted(torch.cat(epoch).tolist()) == list(range(n))
    sizes = [len(batch) for batch in epoch]
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size + 1
    if min(n, batch_size) > 1:
        assert 1 not in sizes
    again = batches(n, batch_size, torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(epoch, again, strict=True))


REAL = [
    *(torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64),
    *(torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64),
]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32, torch.float64])
def test_split_take_leaves_images_unchanged(dtype: torch.dtype) -> None:
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
        (torch.zeros(4, 2, 2), torch.zeros(4).long(), r"images=torch.float32 of shape \(4, 2, 2\): expected"),
        (torch.zeros(4, 2), torch.zeros(3).long(), r"labels=torch.int64 of shape \(3,\): expected"),
        (torch.zeros(4, 2), torch.zeros(4), "labels=torch.float32"),
        ([[0.0]], torch.zeros(1).long(), "images=list"),
        (torch.zeros(4, 2), torch.full((4,), 7), "labels=7 to 7: expected 0 to 6"),
        (torch.zeros(4, 2), torch.full((4,), -1), "labels=-1 to -1: expected 0 to 6"),
        (torch.zeros(4, 2, dtype=torch.complex64), torch.zeros(4).long(), "expected images of real numbers"),
        (torch.zeros(4, 0), torch.zeros(4).long(), "at least one pixel each. They are torch.float32 of shape"),
    ],
)
def test_dataset_of_malformed_tensors_raises(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises((InvalidArgument, InvalidData), match=message):
        Dataset(Split(images, labels), Split(images, labels), classes=7)


def pictures(n: int = 40, pixels: int = 3, **split: Any) -> Split:
    images = torch.arange(n * pixels).view(n, pixels) % 7
    return Split(images.float(), torch.arange(n) % 2, **split)


def of_images(images: torch.Tensor) -> Dataset:
    split = replace(pictures(), images=images)
    return Dataset(split, split, classes=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dataset(pictures(), pictures(pixels=4), classes=2), "images of one size. They have 3 and 4 pixels"),
        (lambda: Dataset(pictures(), pictures(), classes=2.0), "a whole number of classes. It is 2.0"),  # type: ignore[arg-type]
        (lambda: pictures(std=0.0), "a std other than 0"),
        (lambda: pictures(mean=math.nan), "a finite number as mean. It is nan"),
        (lambda: pictures(std=torch.ones(3)), "a finite number as std. It is torch.float32 of shape"),
    ],
)
def test_dataset_of_unusable_numbers_raises(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidData, match=f"^expected .*{message}"):
        make()


def test_dataset_numbers_of_other_libraries_become_plain() -> None:
    numbers: Any = {"mean": np.float32(0.5), "std": torch.tensor(2.0)}
    split = replace(pictures(**numbers), images=pictures().images.requires_grad_())
    data = Dataset(split, split, classes=np.int64(2))  # type: ignore[arg-type]
    assert [type(number) for number in (split.mean, split.std, data.classes)] == [float, float, int]
    assert not make_splits(data, None, 0, 0, normalize=True).train.take(slice(2))[0].requires_grad


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e39])  # the last is beyond float32
@pytest.mark.parametrize(("part", "row"), [("training", 0), ("validation", 1), ("test", 2)])
def test_make_splits_pixel_that_is_not_finite_raises(bad: float, part: str, row: int) -> None:
    data = Dataset(pictures(), pictures(), classes=2)
    whole = make_splits(data, None, val_size=10, split_seed=0, normalize=False)
    assert whole.val is not None
    images = pictures().images.double()
    images[[int(rows(whole.train)[-1]), int(rows(whole.val)[0]), 39][row], 2] = bad
    damaged = replace(pictures(), images=images)
    data = replace(data, test=damaged) if part == "test" else replace(data, train=damaged)
    for normalize in (False, True):
        with pytest.raises(InvalidData, match=rf"^expected pixels .* Among the \d+ {part} images are pixels"):
            make_splits(data, None, val_size=10, split_seed=0, normalize=normalize)


def test_make_splits_pixel_outside_all_splits_is_ignored() -> None:
    images = pictures().images.clone()
    images[0] = math.nan
    split = replace(pictures(), images=images, rows=torch.arange(1, 40))
    make_splits(Dataset(split, split, classes=2), None, val_size=3, split_seed=0, normalize=True)


@pytest.mark.parametrize("value", [0.0, 0.1, 60_000.0])
@pytest.mark.parametrize("dtype", REAL)
def test_make_splits_normalizing_constant_images_raises(dtype: torch.dtype, value: float) -> None:
    images = torch.full((40, 3), value).to(dtype)
    data = Dataset(replace(pictures(), images=images), pictures(), classes=2)
    make_splits(data, None, val_size=3, split_seed=0, normalize=False)
    with pytest.raises(InvalidData, match=r"^expected training images that vary"):
        make_splits(data, None, val_size=3, split_seed=0, normalize=True)


def test_make_splits_normalizing_images_constant_in_float32_raises() -> None:
    data = of_images(1 + 1e-12 * pictures().images.double())
    with pytest.raises(InvalidData, match="are all equal in float32"):
        make_splits(data, None, 3, 0, normalize=True)


@pytest.mark.parametrize("dtype", REAL)
def test_make_splits_images_of_every_real_type_are_normalized(dtype: torch.dtype) -> None:
    data = of_images(pictures().images.to(dtype))
    assert data.digest() == of_images(pictures().images.to(dtype)).digest()
    images, _ = make_splits(data, None, val_size=0, split_seed=0, normalize=True).train.take(slice(None))
    assert (images.mean().item(), images.std(correction=0).item()) == pytest.approx((0, 1), abs=1e-5)


def black() -> Dataset:
    return Dataset(pictures(), replace(pictures(), images=torch.full((40, 3), math.nan)), classes=2)


def flat() -> Dataset:
    return of_images(torch.full((40, 3), 0.1))


def sparse() -> Dataset:
    return of_images(pictures().images.to_sparse())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("black", ["data._target_=tests.data.test_data.black: expected pixels", "Among the 40 test images"]),
        (
            "flat",
            ["data._target_=tests.data.test_data.flat: expected training images that vary, or data.normalize=false"],
        ),
        ("sparse", ["data._target_=tests.data.test_data.sparse: failed with RuntimeError"]),
    ],
)
def test_check_data_set_that_gives_no_result_is_refused(name: str, words: list[str]) -> None:
    config = plain(composed("device=cpu", "data=digits", "data.normalize=true", "data.val_size=5"))
    refused(config | {"data": config["data"] | {"_target_": f"{__name__}.{name}"}}, words)


@given(n=st.integers(1, 300), batch_size=st.integers(1, 64))
def test_batch_sizes_are_equal_except_for_the_last(n: int, batch_size: int) -> None:
    *others, last = batch_sizes(n, batch_size)
    assert sum(others) + last == n
    assert set(others) <= {batch_size}
    assert last <= batch_size + 1
    assert last > 1 or n == 1 or batch_size == 1


def test_digest_after_change_of_one_pixel_differs(real_mnist: Dataset) -> None:
    first = digits()
    assert first.digest() == digits().digest() != real_mnist.digest()
    first.train.images[0, 0] += 1
    assert first.digest() != digits().digest()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.tensor([1, 4]), "rows=1 to 4: expected 0 to 3"),
        (torch.tensor([-1]), "rows=-1 to -1: expected 0 to 3"),
        (torch.tensor([1.0]), r"rows=torch.float32 of shape \(1,\): expected"),
        (torch.tensor([], dtype=torch.int64), r"rows=torch.int64 of shape \(0,\): expected"),
    ],
)
def test_split_of_invalid_rows_raises(rows: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Split(torch.zeros(4, 2), torch.zeros(4).long(), rows=rows)


def test_make_splits_of_one_shared_tensor_keeps_parts_separate() -> None:
    images, labels = torch.arange(10).view(10, 1).to(torch.uint8), torch.zeros(10).long()
    train, test = (Split(images, labels, rows=part) for part in torch.arange(10).split(5))
    splits = make_splits(Dataset(train, test, classes=1), None, val_size=2, split_seed=0, normalize=False)
    assert splits.val is not None
    seen = [split.take(slice(None))[0].flatten().tolist() for split in (splits.train, splits.val, splits.test)]
    assert sorted(seen[0] + seen[1]) == [0, 1, 2, 3, 4]
    assert seen[2] == [5, 6, 7, 8, 9]


def test_split_take_does_not_depend_on_storage(real_mnist: Dataset) -> None:
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
