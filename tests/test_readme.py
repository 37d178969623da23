"""Every command that the README shows, as it stands there but on a few images."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import DATA, IN_PROCESS, ROOT, Command

from mnist_mlp.data.splits import Dataset

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
RUNS = [command for command in COMMANDS if command.startswith("python run.py")]
QUICK = ["epochs=1", "data.train_size=100", "data.val_size=100"]


@pytest.mark.parametrize("line", RUNS)
def test_a_run_command_works(command: Command, line: str) -> None:
    _, script, *arguments = shlex.split(line)
    launcher = [] if any(a.startswith("hydra/launcher=") for a in arguments) else [IN_PROCESS]
    done = command(script, *arguments, *QUICK, *launcher)
    if "dry_run=true" in arguments:
        assert "to do  " in done.stdout
    elif "-m" in arguments or "experiment=smoke" in arguments:
        assert "report: reports/" in done.stdout
    else:
        assert "epoch 1/1" in done.stdout


def test_the_other_commands_are_known() -> None:
    others = sorted(set(COMMANDS) - set(RUNS))
    assert others == [
        "make sweep",
        "make test",
        "python report.py",
        "python report.py --by optim,model.activation --format pdf",
    ]  # tests/test_commands.py runs the last
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"sweep", "test", "check"} <= set(targets)


def test_the_examples_of_ones_own_parts_work(command: Command, checkout: Path, tmp_path: Path) -> None:
    module, _ = PYTHON
    (optimizer,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    (checkout / "mine.py").write_text(module)
    (checkout / "conf/optim/nadam.yaml").write_text(optimizer)
    for group, target in re.findall(r"# conf/(\w+)/mine.yaml: _target_: (mine\.\w+)", module):
        more = "val_size: 50\n" if group == "data" else ""
        (checkout / "conf" / group / "mine.yaml").write_text(f"_target_: {target}\n{more}")
    arguments = ("-m", "init=mine,he", "model=mine", "data=mine", "optim=nadam", "epochs=1")
    command("run.py", *arguments, IN_PROCESS, "hydra.sweep.dir=here", top=checkout)
    assert len(list((tmp_path / "here").glob("*/run.json"))) == 2


def test_the_core_works_as_a_library(real_mnist: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    _, program = PYTHON
    for shown, quick in (('mnist("data")', f'mnist("{DATA}")'), ("train_size=None", "train_size=100")):
        assert shown in program
        program = program.replace(shown, quick)
    exec(program, {})
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("Metrics(epoch=1, step=4, split='test', ")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_option_is_listed() -> None:
    for group in ("init", "optim", "model", "data"):
        (row,) = re.findall(rf"^\| `{group}` \| (.*) \|$", README, flags=re.MULTILINE)
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert options <= set(re.findall(r"`(\w+)`", row))


def test_the_error_shown_is_the_error_given(fresh: Command) -> None:
    (shown,) = re.findall(r"^(error: .*), …$", README, flags=re.MULTILINE)
    assert fresh("run.py", "optim.lrr=1", status=1).stderr.startswith(shown)
