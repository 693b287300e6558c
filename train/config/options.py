"""The command line of train/main.py: a recipe by its name, and each of its settings as an option. tyro parses it."""

import contextlib
import dataclasses
import difflib
import io
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from dwnet.method.specs import SPECS, methods_with
from train.config.recipes import RECIPES, names_in_words, with_method
from train.config.spec import Recipe

PROGRAM = "train/main.py"
DESCRIPTION = "Trains one recipe. All its settings are options: train/main.py --recipe NAME --help lists them."

EXIT_USAGE = 2
"""Exit status for an unknown recipe or option, or for a value that is not allowed."""

RENAMED = {"--data": "--dataset", "--data.kind": "--dataset", "--data.root": "--root"}
"""Current name of each renamed option, by its earlier name."""


@dataclass(frozen=True)
class Request:
    """Parsed command line of train/main.py."""

    recipe: Recipe
    resume: bool = False
    """Continue from the run's last checkpoint."""
    dry_run: bool = False
    """Build everything, take two steps, report time and memory, and keep no files."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Returns " (did you mean X or Y?)" with the nearest of `allowed`; empty where none is near."""
    near = difflib.get_close_matches(word, list(allowed), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _recipe_name(words: list[str]) -> str:
    if words[0] not in RECIPES:
        raise ValueError(f"unknown recipe {words[0]!r}{did_you_mean(words[0], RECIPES)}")  # tyro adds the help
    return words[0]


# Not a Literal: hundreds of names would fill the help and the error message.
_RecipeName = Annotated[
    str,
    PrimitiveConstructorSpec[str](
        nargs=1,
        metavar="NAME",
        instance_from_str=_recipe_name,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
    tyro.conf.arg(help=f"Recipe to train: {names_in_words()}."),
]


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The options that are not settings of a recipe."""

    recipe: _RecipeName
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the run from OUTPUT/NAME/last.pt."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Build everything, take two steps, report time and memory, and keep no files."""


@dataclass(frozen=True)
class _MethodName:
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class _First(_Choice):
    """The options that determine the other options."""

    method: _MethodName = field(default_factory=_MethodName)


# Inherits from Recipe: with a nested Recipe and an empty prefix, tyro reports errors as a traceback.
@dataclass(frozen=True)
class Settings(Recipe, _Choice):
    """All options."""


def parse(arguments: list[str], *, quiet: bool = False) -> Request:
    """Returns the recipe named by `--recipe`, changed by the other options, and what to do with it.

    The options are those of the recipe's method, or of the method that `--method.name` chooses.

    Args:
        arguments: of the command line.
        quiet: print nothing, because another process prints the same.

    Raises:
        SystemExit: with status 2 after tyro's message, for an unknown recipe or option, or a value that is not allowed;
            with status 0 after `--help`.
    """
    if not quiet:
        return _parse(arguments)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return _parse(arguments)


def _parse(arguments: list[str]) -> Request:
    named = any(argument.partition("=")[0] == "--recipe" for argument in arguments)
    # Without a recipe there are no settings: tyro prints the help, or that --recipe is missing.
    first, _ = tyro.cli(
        _First if named else _Choice,
        args=[a for a in arguments if a not in ("-h", "--help")] if named else arguments,
        prog=PROGRAM,
        description=DESCRIPTION,
        return_unknown_args=True,
    )
    assert isinstance(first, _First)
    recipe = RECIPES[first.recipe]
    if first.method.name in SPECS:  # tyro refuses another name below
        recipe = with_method(recipe, first.method.name)
    try:
        command = tyro.cli(
            tyro.conf.AvoidSubcommands[Settings],
            default=Settings(**vars(recipe), recipe=first.recipe),
            args=arguments,
            prog=PROGRAM,
            description=f"Trains the recipe {first.recipe}. Every setting can be changed here.",
        )
    except SystemExit as end:
        if end.code == EXIT_USAGE:
            for line in _hints(arguments, recipe):
                print(f"{PROGRAM}: {line}", file=sys.stderr)  # noqa: T201
        raise
    settings = {field.name: getattr(command, field.name) for field in dataclasses.fields(Recipe)}
    return Request(Recipe(**settings), command.resume, command.dry_run)


def with_nearest(message: str) -> str:
    """Adds the nearest name to a message such as "unknown backbone 'resnet5', allowed are resnet50, ..."."""
    found = re.match(
        r"(?P<what>.*\bunknown .*?'(?P<word>[^']*)')(?P<rest>[,;] allowed are (?P<names>.*))", message, re.S
    )
    if found is None:
        return message
    return found["what"] + did_you_mean(found["word"], re.findall(r"[\w.-]+", found["names"])) + found["rest"]


def _hints(arguments: list[str], recipe: Recipe) -> list[str]:
    """Returns a line for each option that was renamed, or that only other methods have."""
    lines = []
    for argument in arguments:
        option = argument.partition("=")[0]
        name = option.removeprefix("--method.").replace("-", "_")
        owners = methods_with(name) or methods_with(name.removeprefix("no_"))
        if option in RENAMED:
            lines.append(f"{option} is now {RENAMED[option]}")
        elif option.startswith("--method.") and owners and recipe.method.name not in owners:
            lines.append(
                f"{option} is an option of {', '.join(owners)}; the method is {recipe.method.name}, "
                "and --method.name changes it"
            )
    return lines
