"""README, MODEL_CARD and docs/: the files, commands and names in them exist, and their examples run."""

import doctest
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import dwnet
from dwnet.video import open_video
from tests.docs.command_help import printed
from tests.docs.pages import CARD, PAGES, README, ROOT, TEXTS, blocks, command_lines
from tests.docs.result_tables import SCORES, read_set

FIRST_COMMAND = "python3 -m venv .venv && . .venv/bin/activate && pip install -e . && python -m app"
TEST_COMMAND = 'pip install -e ".[test]" && python -m pytest'


def test_readme_is_short_and_begins_with_the_install_command():
    assert len(README.splitlines()) <= 180
    assert command_lines("README.md")[0] == FIRST_COMMAND
    assert TEST_COMMAND in command_lines("README.md")


def test_every_path_in_code_quotes_exists():
    texts = "".join(TEXTS.values())
    named = re.findall(r"`((?:app|assets|docs|dwnet|examples|tests|train|\.ci|\.github)/[\w./]*)`", texts)
    named += re.findall(r"python ((?:tests|examples)/[\w/]+\.py)", texts)
    assert len(named) > 15
    assert sorted({path for path in named if not (ROOT / path).exists()}) == []


def test_every_picture_exists():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert [path for path in pictures if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_links_to_files_exist(name: str):
    text = re.sub(r"^```.*?^```", "", TEXTS[name], flags=re.DOTALL | re.MULTILINE)
    links = [link for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    folder = (ROOT / name).parent
    for link in links:
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / name
        assert target.exists(), f"{name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
            anchors = [re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
            assert anchor in anchors, f"{name}: {link}"


def test_every_page_is_in_the_navigation():
    named = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(f"docs/{path}" for path in named) == sorted(PAGES)


def test_code_named_in_the_paper_tables_exists():
    rows = re.findall(r"\| `((?:dwnet|train)/[\w/]+\.py)`(?: \|)? `(\w+)` \|", README)
    assert len(rows) >= 12
    rows += re.findall(r"\| `((?:dwnet|train)/[\w/]+\.py)` `(\w+)` \|", PAGES["docs/paper/code.md"])
    assert len(rows) >= 27
    for path, name in rows:
        source = (ROOT / path).read_text()
        assert re.search(rf"^(?:(?:class|def) )?{name}\b", source, flags=re.MULTILINE), f"{path} has no {name}"


def test_every_room_is_in_the_readme():
    rooms = {path.parent.name for path in (ROOT / "dwnet").glob("*/__init__.py")}
    assert [room for room in sorted(rooms) if f"dwnet/{room}/" not in README] == []


def test_recipes_in_commands_exist():
    from train.config.recipes import RECIPES

    recipes = [match[1] for line in command_lines() if (match := re.search(r"--recipe (\S+)", line))]
    assert recipes
    assert [name for name in recipes if name not in RECIPES] == []


def test_tables_in_commands_exist():
    from train.ablation.tables import TABLES

    tables = [match[1] for line in command_lines() if (match := re.search(r"train/ablate\.py (\S+)", line))]
    assert tables
    assert [name for name in tables if name not in TABLES] == []


def dwnet_words(line: str) -> list[str]:
    """Returns the words after `dwnet` in a command line; empty for another program."""
    match = re.search(r"^(?:accelerate launch -m )?dwnet (.*)$", line)
    return shlex.split(match[1]) if match else []


def test_dwnet_commands_and_their_options_exist():
    from dwnet.cli.main import COMMANDS, main

    commands = [words for line in command_lines() if (words := dwnet_words(line))]
    assert commands
    for words in commands:
        assert words[0] in COMMANDS, words
        group = COMMANDS[words[0]]
        name = words[:1] if callable(group) else words[:2]
        assert callable(group) or words[1] in group, words
        known = set(re.findall(r"--[a-z][\w.-]*", printed(main, [*name, "--help"])))
        assert {word for word in words if word.startswith("--")} <= known, words


def test_options_of_the_trainer_exist():
    from train.main import main

    lines = [line for line in command_lines() if "train/main.py" in line]
    lines += [line for line in command_lines() if "train/ablate.py" in line]
    assert lines
    launched = {"--recipe", "--resume", "--dry-run", "--help", "--dataset", "--root", "--seeds", "--base"}
    for line in lines:
        recipe = match[1] if (match := re.search(r"--recipe (\S+)", line)) else "street_quick"
        known = set(re.findall(r"--[a-z][\w.-]*", printed(main, ["--recipe", recipe, "--help"])))
        options = re.findall(r" (--[a-z][\w.-]*)", line.partition(".py")[2])
        assert set(options) <= known | launched, line


def test_ci_runs_the_readme_test_command():
    (command,) = [line for line in command_lines("README.md") if "pytest" in line]
    steps = [step.strip().replace("pip install -q", "pip install") for step in command.split("&&")]
    ci = (ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install")
    assert all(step in ci for step in steps)


def examples() -> Iterator[tuple[str, str]]:
    """Yields every Python block with a name of its page and its number on the page."""
    for name, text in TEXTS.items():
        for number, block in enumerate(blocks(text, "python")):
            if "transformers" not in block:  # tests/adapters/test_adapters_readme.py
                yield f"{name}:{number}", block


EXAMPLES = dict(examples())


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with the paths that the examples use: assets/, frames/ and predictions/."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    for folder in ("frames", "predictions/before", "predictions/after"):
        (tmp_path / folder).mkdir(parents=True)
    with open_video(ROOT / "assets/street_crossing.mp4", max_side=120) as clip:
        for frame, _ in zip(clip, range(3), strict=False):
            labels = frame.image[:, :, 0] // 64
            for folder, image in (
                ("frames", frame.image),
                ("predictions/before", labels),
                ("predictions/after", np.zeros_like(labels)),
            ):
                assert cv2.imwrite(str(tmp_path / folder / f"{frame.index:06d}.png"), image)
    return tmp_path


def test_there_are_examples():
    assert len([name for name in EXAMPLES if name.startswith("README.md")]) >= 3
    assert len(EXAMPLES) >= 10


def example_parameter(name: str) -> object:
    """Marks an example that exports a network as slow. tests/examples exports one by default."""
    return pytest.param(name, marks=pytest.mark.slow if "export_segmenter(" in EXAMPLES[name] else ())


@pytest.mark.parametrize("name", map(example_parameter, EXAMPLES))
def test_python_examples_run(name: str, workplace: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", EXAMPLES[name]]
    run = subprocess.run(
        command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr


def test_readme_examples_are_short():
    for block in blocks(README, "python"):
        assert len([line for line in block.splitlines() if line and "import" not in line]) <= 10


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if "```pycon" in text])
def test_interactive_examples_print_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    scope: dict[str, object] = {}
    output: list[str] = []
    for block in blocks(TEXTS[name], "pycon"):
        test = doctest.DocTestParser().get_doctest(block, scope, name, name, 0)
        assert test.examples
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.append, clear_globs=False)
        scope = test.globs  # the blocks of a page continue each other
    assert not output, "".join(output)


def test_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {re.escape(dwnet.__version__)}$", citation, flags=re.MULTILINE)
    assert re.search(rf"^## \[{re.escape(dwnet.__version__)}\]", TEXTS["CHANGELOG.md"], flags=re.MULTILINE)


def test_model_card_names_each_bundled_model_by_its_hash():
    models = sorted((ROOT / "assets" / "models").glob("*.onnx"))
    assert len(models) == 4
    for model in models:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        assert f"`assets/models/{model.name}`" in CARD, f"{model.name} is not in MODEL_CARD.md"
        assert digest in CARD, f"MODEL_CARD.md has another sha256 for {model.name}"
        assert model.stat().st_size <= 16e6


def test_readme_and_model_card_have_the_same_results():
    named = r"\| (baseline|baseline_smoothed|static_warp|dwnet|dwnet_smoothed|ground truth) \|"
    rows = [line for line in README.splitlines() if re.match(named, line)]
    assert len(rows) == 6
    assert [row for row in rows if row not in CARD.splitlines()] == []


@pytest.mark.skipif("DWNET_CAMVID" not in os.environ, reason="needs CamVid: set DWNET_CAMVID to its folder")
def test_model_card_holds_what_evaluate_prints(tmp_path: Path):
    """The bundled networks have the scores of results/, and with one seed the card has what the command prints."""
    (command,) = {line for line in command_lines("MODEL_CARD.md") if line.startswith("dwnet evaluate assets")}
    output = tmp_path / "scores.json"
    arguments = [sys.executable, "-m", *shlex.split(command), "--root", os.environ["DWNET_CAMVID"]]
    arguments += ["--output", str(output)]
    printed_table = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    stored = read_set("camvid_val")
    known = {(row["sha256"], row["keep"]): row for rows in stored.rows.values() for row in rows}
    for row in json.loads(output.read_text())["models"]:
        for title, score in SCORES.items():
            expected = score(known[row["sha256"], row["keep"]])
            assert score(row) == (None if expected is None else pytest.approx(expected, abs=0.02)), (row["name"], title)
    if stored.seeds == 1:
        for line in printed_table.splitlines():
            assert line in CARD
