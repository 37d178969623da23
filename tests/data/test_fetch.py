"""Files of a data set: any source, always verified, and no leftovers."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from mnist_mlp.data import fetch
from mnist_mlp.data.datasets import FASHION_MNIST, MNIST
from mnist_mlp.data.fetch import DataUnavailable, FileSet, Source
from mnist_mlp.data.splits import Dataset
from tests.helpers.paths import DATA
from tests.helpers.warm import Warm

CONTENT = {"one": b"first file", "two": b"second file"}


def nothing(into: Path) -> None:
    raise ConnectionError("out of\nreach")


def file_set(*sources: Source) -> FileSet:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    return FileSet("Two", "Two/raw", digests, sources)


def store(folder: Path) -> Source:
    """Return a source that has both files, one of them compressed."""
    folder.mkdir()
    (folder / "one").write_bytes(CONTENT["one"])
    (folder / "two.gz").write_bytes(gzip.compress(CONTENT["two"]))
    return fetch.directory(str(folder), "it is there")


def everything_below(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_read_uses_first_source_that_has_all_files(tmp_path: Path) -> None:
    root = tmp_path / "data"
    found = fetch.read(file_set(Source("nowhere", nothing), store(tmp_path / "store")), root)
    assert {name: content.tobytes() for name, content in found.items()} == CONTENT
    assert everything_below(root) == ["Two/raw/one", "Two/raw/two"]


def test_read_compressed_files_in_data_directory_needs_no_source(tmp_path: Path) -> None:
    (tmp_path / "Two/raw").mkdir(parents=True)
    for name, content in CONTENT.items():
        (tmp_path / "Two/raw" / f"{name}.gz").write_bytes(gzip.compress(content))
    assert fetch.read(file_set(), tmp_path).keys() == CONTENT.keys()


@pytest.mark.parametrize("wrong", [b"first fi", b"", b"another file", gzip.compress(CONTENT["one"], mtime=0)])
def test_read_wrong_file_is_repaired(tmp_path: Path, wrong: bytes) -> None:
    root = tmp_path / "data"
    (root / "Two/raw").mkdir(parents=True)
    (root / "Two/raw/one").write_bytes(wrong)
    fetch.read(file_set(store(tmp_path / "store")), root)
    assert (root / "Two/raw/one").read_bytes() == CONTENT["one"]


def test_read_source_with_wrong_bytes_leaves_no_file(tmp_path: Path) -> None:
    def wrong(into: Path) -> None:
        (into / "one").write_bytes(b"something else")
        (into / "two.gz").write_bytes(gzip.compress(CONTENT["two"])[:-4])

    root = tmp_path / "data"
    with pytest.raises(DataUnavailable, match="liar: no file with the right digest for one, two"):
        fetch.read(file_set(Source("liar", wrong)), root)
    assert everything_below(root) == []


def test_read_without_working_source_reports_attempts_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "Two/raw").mkdir(parents=True)
    (tmp_path / "Two/raw/one").write_bytes(b"first fi")
    files = file_set(Source("nowhere", nothing), fetch.directory("/no/such/directory", "install it"))
    with pytest.raises(DataUnavailable) as caught:
        fetch.read(files, tmp_path)
    message = str(caught.value)
    for words in (
        f"{tmp_path}/Two/raw: one (wrong digest, not changed); two (missing)",
        "nowhere: out of reach",
        "/no/such/directory: the directory does not exist; install it",
        f"Put the files one, two (or their .gz) into {tmp_path}/Two/raw",
        "data=digits works offline",
    ):
        assert words in message
    assert (tmp_path / "Two/raw/one").read_bytes() == b"first fi"
    assert everything_below(tmp_path) == ["Two/raw/one"]


def test_read_keeps_wrong_file_until_a_source_has_the_right_one(tmp_path: Path) -> None:
    raw = tmp_path / "data/Two/raw"
    raw.mkdir(parents=True)
    for name in CONTENT:
        (raw / name).write_bytes(b"user file")
    half = store(tmp_path / "store")
    (tmp_path / "store/two.gz").write_bytes(b"no archive")
    with pytest.raises(DataUnavailable, match="no file with the right digest for one, two"):
        fetch.read(file_set(half), tmp_path / "data")
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == {"one": CONTENT["one"], "two": b"user file"}


def test_read_removes_leftovers_of_killed_process(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / ".Two-partial-killed").mkdir(parents=True)
    (root / ".Two-partial-killed/one").write_bytes(b"half")
    (root / ".Other-partial-alive").mkdir(parents=True)
    (root / ".Other-partial-alive/file").write_bytes(b"half")
    fetch.read(file_set(store(tmp_path / "store")), root)
    assert everything_below(root) == [".Other-partial-alive/file", "Two/raw/one", "Two/raw/two"]


def test_read_unreadable_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "Two/raw"
    raw.mkdir(parents=True)
    (raw / "one").mkdir()  # an error that does not depend on the bytes of a file
    with pytest.raises(DataUnavailable, match="Is a directory"):
        fetch.read(file_set(), tmp_path)
    assert (raw / "one").exists()


def test_read_by_concurrent_processes_fetches_once(warm: Warm, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import hashlib, time
from pathlib import Path
from mnist_mlp.data.fetch import FileSet, Source, read
content = b"x" * 100_000
def get(into):
    with open({str(tmp_path / "calls")!r}, "a") as calls:
        calls.write("call\\n")
    time.sleep(0.5)
    (into / "one").write_bytes(content)
files = FileSet("One", "One", {{"one": hashlib.sha256(content).hexdigest()}}, [Source("slow", get)])
assert read(files, Path({str(tmp_path / "data")!r}))["one"].tobytes() == content
""")
    processes = [warm.start([str(program)], tmp_path, os.environ) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert (tmp_path / "calls").read_text() == "call\n"


def test_read_truncated_mnist_is_repaired(tmp_path: Path, real_mnist: Dataset) -> None:
    raw = tmp_path / MNIST.folder
    raw.mkdir(parents=True)
    for name in MNIST.sha256:
        content = (DATA / MNIST.folder / name).read_bytes()
        (raw / name).write_bytes(content[:1_000_000])  # truncates the images only
    repaired = fetch.read(MNIST, tmp_path)
    for name, bytes_ in repaired.items():
        assert np.array_equal(bytes_, np.fromfile(DATA / MNIST.folder / name, dtype=np.uint8))


def test_fashion_mnist_digests_differ_from_those_of_mnist() -> None:
    assert FASHION_MNIST.sha256.keys() == MNIST.sha256.keys()
    assert not set(FASHION_MNIST.sha256.values()) & set(MNIST.sha256.values())
