"""`dwnet demo`."""

import importlib.util
import sys
from typing import Annotated

import tyro

from dwnet.core.errors import DWNetError


def demo(options: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[OPTIONS]")] = (), /) -> None:
    """Open the comparison page in the browser; all options are those of the page (`dwnet demo -- --help`).

    Args:
        options: of the page, behind a `--`.
    """
    # The page is a package beside this one in a clone, and inside this one in a wheel.
    for name in ("dwnet.app", "app"):
        if importlib.util.find_spec(name) is not None:
            page = importlib.import_module(f"{name}.__main__")
            sys.exit(page.main(list(options)))
    raise DWNetError("the page is not installed: it lies in app/ of a clone and in every wheel")
