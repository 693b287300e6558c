"""README and MODEL_CARD are held to the project: what they name exists, and CI runs the test command."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CARD = (ROOT / "MODEL_CARD.md").read_text()


def command_lines() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_every_path_in_code_quotes_exists():
    named = re.findall(r"`((?:app|assets|dwnet|tests|train|\.ci)/[\w./]*)`", README + CARD)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_picture_exists():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert [path for path in pictures if not (ROOT / path).is_file()] == []


def test_code_named_in_the_paper_table_exists():
    rows = re.findall(r"\| `(dwnet/[\w/]+\.py)` `(\w+)` \|", README)
    assert len(rows) >= 9
    for path, name in rows:
        source = (ROOT / path).read_text()
        assert re.search(rf"^(class|def) {name}\b", source, flags=re.MULTILINE), f"{path} has no {name}"


def test_recipes_in_commands_exist():
    from train.config.recipes import RECIPES

    recipes = [match[1] for line in command_lines() if (match := re.search(r"--recipe (\S+)", line))]
    assert recipes
    assert [name for name in recipes if name not in RECIPES] == []


def test_dwnet_commands_exist():
    from dwnet.cli.main import COMMANDS

    commands = [shlex.split(line)[1] for line in command_lines() if line.startswith("dwnet ")]
    assert commands
    assert [command for command in commands if command not in COMMANDS] == []


def test_ci_runs_the_readme_test_command():
    (command,) = [line for line in command_lines() if "pytest" in line]
    steps = [step.strip().replace("pip install -q", "pip install") for step in command.split("&&")]
    ci = (ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install")
    assert all(step in ci for step in steps)


def test_python_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        if "transformers" in block:  # tests/test_adapters_readme.py
            continue
        subprocess.run([sys.executable, "-c", block], cwd=ROOT, check=True, timeout=120)


def test_model_card_names_each_bundled_model_by_its_hash():
    models = sorted((ROOT / "assets" / "models").glob("*.onnx"))
    assert len(models) == 4
    for model in models:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        assert f"`assets/models/{model.name}`" in CARD, f"{model.name} is not in MODEL_CARD.md"
        assert digest in CARD, f"MODEL_CARD.md has another sha256 for {model.name}"
        assert model.stat().st_size <= 16e6


@pytest.mark.skipif("DWNET_CAMVID" not in os.environ, reason="needs CamVid: set DWNET_CAMVID to its folder")
def test_model_card_holds_what_evaluate_prints():
    (command,) = [line for line in command_lines() if line.startswith("dwnet evaluate assets")]
    arguments = [sys.executable, "-m", *shlex.split(command), "--root", os.environ["DWNET_CAMVID"]]
    printed = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in printed.splitlines():
        assert line in CARD
