"""Every equation has one implementation. `dwnet` does not import the app or the trainer, and can be imported without
video readers and the web interface.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "dwnet"
MODULES = sorted(PACKAGE.rglob("*.py"))
HOMES = {1: "ops/warp.py", 2: "method/fgconv.py", 3: "method/fgconv.py"} | dict.fromkeys(
    range(4, 9), "method/losses.py"
)


def tags(line: str) -> set[int]:
    """Returns the equations that a docstring's first line starts with: {4, 5} for `Eq. 4-5: ...`."""
    match = re.match(r"Eq\. (\d+)(?:-(\d+))?: ", line)
    return set() if match is None else set(range(int(match[1]), int(match[2] or match[1]) + 1))


def test_tags_are_ranges_at_the_start_of_a_line() -> None:
    assert tags("Eq. 4-5: x") == {4, 5}
    assert tags("Eq. 8: l") == {8}
    assert tags("Labels as in Eq. 1: x") == set()


@pytest.mark.parametrize("number", range(1, 9))
def test_every_equation_has_exactly_one_implementation(number: int) -> None:
    places = [
        f"{path.relative_to(PACKAGE)}:{node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and number in tags((ast.get_docstring(node) or "").partition("\n")[0])
    ]
    assert len(places) == 1, places
    assert places[0].startswith(HOMES[number])


def imported(path: Path) -> set[str]:
    """Returns the full names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_imports_neither_shell(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & {"app", "train", "gradio", "accelerate"}


def test_the_per_frame_network_knows_nothing_of_flow() -> None:
    flow = (
        "dwnet.flow",
        "dwnet.method.flow_refinement",
        "dwnet.method.fgconv",
        "dwnet.method.static_warp",
        "dwnet.method.dwnet",
        "dwnet.method.losses",
        "dwnet.method.training",
    )
    for path in (PACKAGE / "segmentation").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith(flow)], path
    assert not [name for name in imported(PACKAGE / "deploy" / "runtime.py") if name.startswith(("torch", *flow))]


IMPORT_ALL = """
import importlib, pkgutil, sys
for name in ("decord", "av", "gradio", "tyro", "accelerate", "app", "train"):
    sys.modules[name] = None  # importing it fails from here on
import dwnet
command_line = ("dwnet.__main__", "dwnet.cli")  # needs tyro
names = [m.name for m in pkgutil.walk_packages(dwnet.__path__, "dwnet.", onerror=lambda name: None)]
names = [name for name in names if not name.startswith(command_line)]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_everything_imports_without_video_readers_web_interface_and_command_line() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    commands = [path for path in MODULES if path.stem == "__main__" or path.parent.name == "cli"]
    assert int(run.stdout) == len(MODULES) - 1 - len(commands)  # the package dwnet itself is not listed
