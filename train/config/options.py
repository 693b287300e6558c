"""The command line: a recipe by its name, each of its settings as an option, and one clear message for a wrong one."""

import argparse
import contextlib
import dataclasses
import difflib
import io
import re
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import tyro

from dwnet.core.data_kinds import DataKind
from train.config.recipes import RECIPES, names_in_words
from train.config.spec import Recipe

PROGRAM = "train/main.py"
DESCRIPTION = "Trains one recipe; every setting can be changed here. --resume continues OUTPUT/NAME/last.pt."

EXIT_USAGE = 2
"""Exit status for an option that does not exist, or a value that it does not take."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    recipe: Recipe
    resume: bool = False
    """Continue the run's last checkpoint."""
    dry_run: bool = False
    """Build all, take two steps, say what it costs, and leave nothing behind."""


def parse(arguments: list[str], *, quiet: bool = False) -> Request:
    """The recipe named by `--recipe`, changed by the other options; and what to do with it.

    Args:
        arguments: of the command line.
        quiet: print no error (another process does).

    Raises:
        SystemExit: with one message, for an unknown recipe or option, or a value that is not allowed.
    """
    parser = _parser()
    try:
        known, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        _refuse(str(error), quiet)
    if known.recipe is None and {"-h", "--help"} & set(rest):
        parser.print_help()
        print("\nThe settings of a recipe: train/main.py --recipe NAME --help")  # noqa: T201
        raise SystemExit(0)
    if known.recipe not in RECIPES:
        asked = f"unknown recipe {known.recipe!r}" if known.recipe else "no recipe: add --recipe NAME"
        hint = did_you_mean(known.recipe or "", RECIPES)
        raise SystemExit(1 if quiet else f"{PROGRAM}: {asked}{hint}; allowed are {names_in_words()}")
    chosen = RECIPES[known.recipe]
    if known.data is not None and known.data not in get_args(DataKind):
        kinds = ", ".join(get_args(DataKind))
        _refuse(f"--data is {known.data!r}{did_you_mean(known.data, get_args(DataKind))}, allowed are {kinds}", quiet)
    if known.data is not None:
        neighbours: Literal["video", "camera_motion"] = "video" if known.data == "street" else "camera_motion"
        chosen = replace(chosen, data=replace(chosen.data, kind=known.data, neighbours=neighbours))
    return Request(_settings(chosen, rest, quiet), known.resume, known.dry_run)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """ " (did you mean X or Y?)" with the nearest of `allowed`; empty where none is near."""
    near = difflib.get_close_matches(word, list(allowed), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def with_nearest(message: str) -> str:
    """A message like "unknown backbone 'resnet5', allowed are resnet50, ...", with the nearest name added."""
    found = re.match(
        r"(?P<what>.*\bunknown .*?'(?P<word>[^']*)')(?P<rest>[,;] allowed are (?P<names>.*))", message, re.S
    )
    if found is None:
        return message
    return found["what"] + did_you_mean(found["word"], re.findall(r"[\w.-]+", found["names"])) + found["rest"]


def option_names(spec: type, prefix: str = "--") -> list[str]:
    """Every option of a dataclass of settings, as tyro names them."""
    names = []
    types = typing.get_type_hints(spec)
    for field in dataclasses.fields(spec):
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(types[field.name]):
            names += option_names(types[field.name], f"{prefix}{name}.")
        else:
            names.append(prefix + name)
            names += [f"{prefix}no-{name}"] if types[field.name] is bool else []
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=DESCRIPTION, add_help=False, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("--recipe", metavar="NAME", help=f"required: {names_in_words()}")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help=f"another data set than the recipe's: {', '.join(get_args(DataKind))}; the street comes with its own, "
        "rendered neighbours",
    )
    parser.add_argument("--resume", action="store_true", help="continue OUTPUT/NAME/last.pt")
    parser.add_argument(
        "--dry-run", action="store_true", help="build all, take two steps, say what it costs, leave nothing behind"
    )
    return parser


def _settings(chosen: Recipe, options: list[str], quiet: bool) -> Recipe:
    """`chosen` as the options change it."""
    allowed = ["--help", "--recipe", "--data", "--resume", "--dry-run", *option_names(Recipe)]
    for option in options:
        name = option.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in allowed:
            _refuse(f"unknown option {name}{_nearest_option(name, allowed)}", quiet)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(
                Recipe,
                default=chosen,
                args=options,
                prog=f"{PROGRAM} --recipe {chosen.name} [--data NAME] [--resume] [--dry-run]",
                description=DESCRIPTION,
            )
    except SystemExit as end:
        if end.code not in (0, None):
            _refuse(_one_line(printed.getvalue()), quiet)
        raise


def _nearest_option(name: str, allowed: list[str]) -> str:
    """Also finds an option by its last part alone: --rate is --optimiser.rate."""
    ends = [option for option in allowed if option.rpartition(".")[2] == name.removeprefix("--")]
    return f" (did you mean {' or '.join(ends[:2])}?)" if ends else did_you_mean(name, allowed)


_TYPES = (
    (r"invalid literal for int\(\) with base 10: (?P<found>'.*')", "whole numbers"),
    (r"could not convert string to float: (?P<found>'.*')", "numbers"),
)


def _one_line(printed: str) -> str:
    """What tyro says in a box of many lines, as one."""
    lines = [line.strip(" │╭╮╰╯") for line in printed.splitlines()]
    rules = [place for place, line in enumerate(lines) if re.match("─|-{9}", line)]
    rules += [-1, len(lines)]  # a box without any
    text = " ".join(line for line in lines[rules[0] + 1 : rules[1]] if line)
    choice = re.match(
        r"invalid choice (?P<word>'.*') for argument '(?P<name>.*)'\. Expected one of \((?P<names>.*)\)", text
    )
    if choice:
        names = re.findall(r"'([^']*)'", choice["names"])
        hint = did_you_mean(choice["word"].strip("'"), names)
        return f"{choice['name']} is {choice['word']}{hint}, allowed are {', '.join(names)}"
    text = re.sub(r"^Error parsing (?!--)[\w.]+: ", "", text)
    for pattern, allowed in _TYPES:
        wrong = re.match(rf"Error parsing (?P<name>--\S+): {pattern}", text)
        if wrong:
            return f"{wrong['name']} is {wrong['found']}, allowed are {allowed}"
    return text


def _refuse(message: str, quiet: bool) -> typing.NoReturn:
    if not quiet:
        print(f"{PROGRAM}: {message}", file=sys.stderr)  # noqa: T201
    raise SystemExit(EXIT_USAGE)
