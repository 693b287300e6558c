"""docs/reference/commands.md is equal to the `--help` texts of the commands."""

import difflib

from tests.docs.command_help import PAGE, commands, dwnet_commands, page, parse


def test_help_is_read_by_hand() -> None:
    text = """usage: tool [-h] [OPTIONS] PATH

Does one thing,
then another.

╭─ positional arguments ───────╮
│ PATH          a file.        │
╰──────────────────────────────╯
╭─ options ────────────────────╮
│ -h, --help    shows this     │
│ --models {None}|PATH         │
│               folder of      │
│               networks.      │
│ --flip, --no-flip            │
│ --kind {first,second,        │
│ third}                       │
│               of three.      │
╰──────────────────────────────╯
"""
    found = parse(text)
    assert found.description == ["Does one thing, then another."]
    assert found.options == [
        ("PATH", "a file."),
        ("--models {None}|PATH", "folder of networks."),
        ("--flip, --no-flip", ""),
        ("--kind {first,second,third}", "of three."),
    ]


def test_the_page_is_what_the_commands_print() -> None:
    difference = list(difflib.unified_diff(PAGE.read_text().splitlines(), page().splitlines(), "page", "help", n=0))
    assert not difference, "\n".join(["run `python -m tests.docs.command_help`", *difference])


def test_every_command_has_a_purpose() -> None:
    found = {name: content for name, _, content in commands()}
    assert {" ".join(("dwnet", *words)) for words in dwnet_commands()} < set(found)
    assert [name for name, content in found.items() if not content.description] == []
    assert len([option for content in found.values() for option in content.options]) > 100
