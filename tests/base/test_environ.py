"""Environment variables: temporary changes and their restoration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_mlp.base.environ import environment_variables, prepend_path

NAME = "MNIST_MLP_TEST_VARIABLE"


@pytest.fixture(params=["before", "", None])
def before(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Value of the variable before the test; None if it is not set."""
    value: str | None = request.param
    monkeypatch.delenv(NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(NAME, value)
    return value


def test_environment_variables_normal_exit_restores(before: str | None) -> None:
    with environment_variables(**{NAME: "within"}):
        assert os.environ[NAME] == "within"
    assert os.environ.get(NAME) == before


def test_environment_variables_exception_restores(before: str | None) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), environment_variables(**{NAME: "within"}):
        raise RuntimeError("on purpose")
    assert os.environ.get(NAME) == before


def test_environment_variables_removed_within_restores(before: str | None) -> None:
    with environment_variables(**{NAME: "within"}):
        del os.environ[NAME]
    assert os.environ.get(NAME) == before


def test_environment_variables_nested_restores_each(before: str | None) -> None:
    with environment_variables(**{NAME: "outer"}):
        with environment_variables(**{NAME: "inner"}):
            assert os.environ[NAME] == "inner"
        assert os.environ[NAME] == "outer"
    assert os.environ.get(NAME) == before


def test_environment_variables_reach_child_processes() -> None:
    with environment_variables(**{NAME: "within"}):
        command = [sys.executable, "-c", f"import os; print(os.environ['{NAME}'])"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "within"


def test_prepend_path_puts_directory_first_and_restores(before: str | None) -> None:
    with prepend_path(NAME, Path("some") / "directory"):
        assert os.environ[NAME].split(os.pathsep) == [str(Path("some") / "directory"), *filter(None, [before])]
    assert os.environ.get(NAME) == before


def test_prepend_path_exception_restores(before: str | None) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), prepend_path(NAME, "directory"):
        raise RuntimeError("on purpose")
    assert os.environ.get(NAME) == before
