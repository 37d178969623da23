"""README and pages of docs/: every command on a few images, every example, and every link."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_mlp.base.schema import GROUPS
from mnist_mlp.data.splits import Dataset
from tests.helpers.commands import IN_PROCESS, NO_REPORT, Command
from tests.helpers.documents import DIGITS, OWN_PARTS, PAGES, QUICK, blocks, commands, quickly, runs
from tests.helpers.paths import DATA, ROOT

MAX_LINES = 150  # in the README
FENCE = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)


README = runs(["README.md"])
OTHERS = {line: others for line, others in runs().items() if line not in README}
SWEEPS = [line for line, others in OTHERS.items() if " -m " in line and not others]
RUNS = [*README, *(line for line in OTHERS if line not in SWEEPS)]


@pytest.mark.parametrize("line", RUNS, ids=RUNS)
def test_docs_run_command_succeeds(command: Command, line: str) -> None:
    _, _, *arguments = shlex.split(line)
    others = (README | OTHERS)[line]
    done = command(*quickly(line, others))
    for other in others:
        if other.startswith("python run.py"):
            command(*quickly(other, others))
        else:
            assert "report: reports/" in command(*shlex.split(other)[1:]).stdout
    if "-m" not in arguments and "experiment=smoke" not in arguments:
        assert "epoch 1/1" in done.stdout
    elif not others:
        assert "report: reports/" in done.stdout


@pytest.mark.parametrize("line", SWEEPS, ids=SWEEPS)
def test_docs_sweep_command_is_valid(command: Command, line: str) -> None:
    """A dry run composes every job, checks it and takes a training step; other tests train and report such sweeps."""
    assert "to do  " in command(*quickly(line, []), "dry_run=true").stdout


def test_docs_other_commands_are_make_targets() -> None:
    shown = {line for page in PAGES for lines in commands(page) for line in lines}
    others = {line for line in shown if not line.startswith(("python run.py", "python report.py"))}
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)) - {"clean"}
    assert others == {f"make {target}" for target in targets}


def test_extending_page_examples_run(command: Command, checkout: Path, tmp_path: Path) -> None:
    for block in blocks(OWN_PARTS, r"(?:yaml|python)"):
        if name := re.match(r"# (\S+)\n", block):
            (checkout / name[1]).parent.mkdir(exist_ok=True)
            (checkout / name[1]).write_text(block)
    parts, study = (line for lines in commands(OWN_PARTS) for line in lines)
    for line, directory, jobs in ((parts, "parts", 2), (study, "study", 12)):
        _, script, *arguments = shlex.split(line)
        small = [*QUICK, *DIGITS] if line == study else ["epochs=1"]
        command(script, *arguments, *small, IN_PROCESS, NO_REPORT, f"hydra.sweep.dir={directory}", top=checkout)
        assert len(list((tmp_path / directory).glob("*/run.json"))) == jobs


def test_extending_page_library_program_trains(real_mnist: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    *_, program = blocks(OWN_PARTS, "python")
    for shown, quick in (('mnist("data")', f'mnist("{DATA}")'), ("train_size=None", "train_size=100")):
        assert shown in program
        program = program.replace(shown, quick)
    exec(program, {})
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("Metrics(epoch=1, step=4, split='test', ")


def test_own_tables_page_programs_print_expected_results(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for program in blocks("docs/own_tables.md", "python"):
        exec(program, {})
        shown.append(capsys.readouterr().out)
    pairs, effects, components, curves = shown
    assert [line.split()[-1] for line in pairs.splitlines()[1:]] == ["better", "better", "inconclusive"]
    assert [line.split()[1] for line in effects.splitlines()[1:4]] == ["init", "optim", "init"]
    assert [line.split()[1] for line in components.splitlines()[1:]] == ["weights", "batches", "interaction", "all"]
    assert curves.splitlines()[-1] == "[Lead(cell='adam', first=1, last=2), Lead(cell='sgd', first=3, last=3)]"


def anchors(path: Path) -> set[str]:
    """Return the link anchors of a page's headings, as GitHub and Sphinx make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_docs_links_resolve(page: str) -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", FENCE.sub("", PAGES[page]))
    assert links
    for link in links:
        place, _, anchor = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_docs_named_files_exist() -> None:
    """Names in prose, code and tables that look like files or folders of the project exist."""
    tops = "|".join(("conf", "experiments", "mnist_mlp", "hydra_plugins", "benchmarks", "docs", "tests"))
    own = {"docs/_build", *re.findall(r"^# (\S+)$", PAGES[OWN_PARTS], flags=re.MULTILINE)}
    for page, text in PAGES.items():
        for name in re.findall(rf"`((?:{tops})/[\w/.]*)`", text):
            if "NAME" not in name and name not in own:
                assert (ROOT / name).exists(), f"{page}: {name}"


def test_module_map_in_design_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/module_map.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_readme_has_at_most_150_lines() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MAX_LINES


def test_sweeps_page_lists_every_option() -> None:
    for group in GROUPS:
        (row,) = re.findall(rf"^\| `{group}` \| (.*) \|$", PAGES["docs/sweeps.md"], flags=re.MULTILINE)
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert options <= set(re.findall(r"`(\w+)`", row))


def test_sweeps_page_error_equals_printed_error(fresh: Command) -> None:
    (shown,) = re.findall(r"^(error: .*), …$", PAGES["docs/sweeps.md"], flags=re.MULTILINE)
    assert fresh("run.py", "optim.lrr=1", status=1).stderr.startswith(shown)
