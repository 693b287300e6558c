"""Writes the page docs/reference/commands.md from the `--help` of every command.

    python -m tests.docs.command_help

`test_commands_page.py` compares the page with the help texts.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
COLUMNS = "100"
"""Width of the terminal. On a wider one tyro prints its boxes side by side."""

INTRODUCTION = """\
# Commands

Every command prints this text with `--help`. A wrong option ends a command with status 2 and names the nearest option
that exists. An error ends it with status 1 and one line. Ctrl+C ends it with status 130.

`python -m dwnet` is the same as `dwnet`. `python -m app` is the page of `dwnet demo`, with the same options.
"""
TRAINER = """\
`--recipe NAME` is required. The options below and their defaults are those of the recipe `street_quick`. Another recipe
has the options of its own method: `python train/main.py --recipe NAME --help` prints them.
"""
MACHINE_DEFAULTS = ("--data.workers",)
"""Options whose default depends on the machine."""


@dataclass
class Help:
    """The `--help` of one command."""

    description: list[str] = field(default_factory=list)
    """Paragraphs."""
    options: list[tuple[str, str]] = field(default_factory=list)
    """Each argument as written on the command line, with its meaning."""


def parse(text: str) -> Help:
    """Reads the help that tyro prints."""
    found = Help()
    head, _, _ = text.partition("╭")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", head.strip())]
    found.description = [part for part in paragraphs if part and not part.startswith("usage:")]
    group, open_name = "", False
    for line in text.splitlines():
        if line.startswith("╭"):
            group, open_name = line.strip("╭─╮ "), False
        if not line.startswith("│ ") or group == "subcommands":
            continue
        content = line[2:].rstrip("│ ")
        if re.match(r"-{1,2}[a-z]", content) or (group == "positional arguments" and content[:1] not in (" ", "")):
            name, _, meaning = content.partition("  ")
            found.options.append((name.strip(), meaning.strip()))
            open_name = not meaning
        elif content.startswith("  ") and found.options:
            name, meaning = found.options[-1]
            found.options[-1] = (name, f"{meaning} {content.strip()}".strip())
            open_name = False
        elif open_name:  # continuation of a long list of choices
            name, _ = found.options[-1]
            found.options[-1] = (name + content.strip(), "")
    found.options = [(name, meaning) for name, meaning in found.options if name != "-h, --help"]
    return found


def printed(run: Callable[[list[str]], object], arguments: Sequence[str]) -> str:
    """Returns what a command prints before it exits."""
    # tyro draws its boxes where the stream can encode them.
    output, columns = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            run(list(arguments))
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    output.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", output.read())


def dwnet_commands() -> Iterator[tuple[str, ...]]:
    """Yields every command of `dwnet`, such as ("data", "check")."""
    from dwnet.cli.main import COMMANDS

    for name, command in COMMANDS.items():
        if callable(command):
            yield (name,)
        else:
            yield from ((name, sub) for sub in command)


def commands() -> Iterator[tuple[str, str, Help]]:
    """Yields the name of every command, an extra text for the page, and its help."""
    from dwnet.cli.main import main
    from train.ablate import main as ablate
    from train.main import main as train

    for words in dwnet_commands():
        yield " ".join(("dwnet", *words)), "", parse(printed(main, (*words, "--help")))
    yield "train/main.py", TRAINER, parse(printed(train, ("--recipe", "street_quick", "--help")))
    yield "train/ablate.py", "", parse(printed(ablate, ("--help",)))


def page() -> str:
    """Returns the whole page in Markdown."""
    parts, index = [], ["| command | purpose |", "|---|---|"]
    for name, text, found in commands():
        anchor = re.sub(r"[^\w\s-]", "", name).lower().replace(" ", "-")
        purpose = found.description[0].partition(". ")[0].rstrip(".") if found.description else ""
        index.append(f"| [`{name}`](#{anchor}) | {purpose} |")
        parts += [f"## {name}", *found.description, text.strip()]
        parts.append("\n".join(_item(*option) for option in found.options))
    blocks = [INTRODUCTION.strip(), "\n".join(index), *parts]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _item(name: str, meaning: str) -> str:
    if name.split()[0] in MACHINE_DEFAULTS:
        meaning = re.sub(r" ?\(default: \S+\)", "", meaning)
    return f"- `{name}`: {meaning}" if meaning else f"- `{name}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
