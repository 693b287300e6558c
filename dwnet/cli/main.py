"""The command `dwnet` and its subcommands."""

import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from tyro.extras import SubcommandApp

from dwnet.cli.adopt import adopt
from dwnet.cli.compare import compare
from dwnet.cli.data import camvid_frames, check_files, frames
from dwnet.cli.demo import demo
from dwnet.cli.evaluate import evaluate
from dwnet.cli.export import export
from dwnet.cli.flicker import flicker
from dwnet.cli.hub import push, save
from dwnet.cli.judge_flow import judge_flow
from dwnet.cli.street import street
from dwnet.core.extras import missing_extra

Command: TypeAlias = Callable[..., None]

COMMANDS: Mapping[str, Command | Mapping[str, Command]] = {
    "demo": demo,
    "compare": compare,
    "flicker": flicker,
    "evaluate": evaluate,
    "judge-flow": judge_flow,
    "export": export,
    "adopt": adopt,
    "street": street,
    "data": {"check": check_files, "frames": frames, "camvid-frames": camvid_frames},
    "hub": {"save": save, "push": push},
}
"""Commands and groups of commands, by name."""

GROUPS = {
    "data": "Check data sets; extract the frames that training needs from videos.",
    "hub": "Networks on the Hugging Face hub.",
}


DESCRIPTION = "Steadier video segmentation: compare networks, measure flicker, evaluate, export."


def _group_help(name: str, group: Mapping[str, Command]) -> str:
    """Returns the help of a group. It lists the group's commands, so that `dwnet --help` shows all commands."""
    lines = [f"{name} {sub}: {(run.__doc__ or '').partition(chr(10))[0]}" for sub, run in group.items()]
    return "\n\n".join([GROUPS[name], *lines])


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end a command like Ctrl+C, so that it removes its incomplete files."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl+C, SIGTERM or SIGHUP. Wrong options end the process with
        status 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may have characters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    app = SubcommandApp()
    for name, command in COMMANDS.items():
        if callable(command):
            app.command(name=name)(command)
            continue
        group = SubcommandApp()
        for sub, run in command.items():
            group.command(name=sub)(run)
        app.command(group, name=name, help=_group_help(name, command))
    try:
        with _signals_interrupt():
            app.cli(args=arguments, prog="dwnet", description=DESCRIPTION)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        print(f"dwnet: {missing}", file=sys.stderr)
        return 1
    except (ValueError, RuntimeError, OSError) as error:
        print(f"dwnet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dwnet: interrupted; no incomplete file remains", file=sys.stderr)
        return 130
    return 0
