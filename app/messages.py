"""Messages for visitors: one sentence, without paths of the server."""

import errno
import logging
import re
from pathlib import Path

import gradio as gr

LOG = logging.getLogger("dwnet.page")

_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\",;()]+/)+([^\s/:'\",;()]*)")


def without_paths(text: str, *known: str) -> str:
    """Returns the text with the last part of each path only.

    Args:
        text: a message.
        known: paths that occur in it. They may contain spaces, which other paths are not searched for.
    """
    for path in known:
        if path:
            text = text.replace(str(Path(path).resolve()), Path(path).name).replace(path, Path(path).name)
    return _PATH.sub(lambda found: found[1] or "a folder", text)


def message(error: Exception, clip: str = "") -> str:
    """Returns the text of an error without paths, and without input kinds that the page does not accept."""
    if isinstance(error, gr.Error):
        return str(error.message)
    text = str(error).replace(" or a folder of images", "")
    text = re.sub(r" \(--[a-z-]+ sets another limit\)", "", text)
    if isinstance(error, OSError) and error.strerror:
        # The full text names files of the server.
        text = "The server's disk is full." if error.errno == errno.ENOSPC else error.strerror
    return without_paths(text, clip)


def refused(error: Exception, clip: str = "") -> gr.Error:
    """Returns the error for a visitor, and writes one line to the log."""
    text = message(error, clip)
    LOG.warning("refused: %s", text)
    return gr.Error(text, print_exception=False)
