"""`python -m app`: opens the comparison page in the browser."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tyro

# Set before Gradio is imported. Otherwise Gradio sends usage data over the network.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from dwnet.cli.demo import PageOptions
from dwnet.cli.options import limit_clips
from dwnet.comparison import load_networks
from dwnet.core.bundled import models_folder, sample_clip
from dwnet.core.errors import DWNetError

from .callbacks import Callbacks
from .main import build
from .style import CSS, theme


def serve(options: PageOptions) -> None:
    """Loads the networks and serves the page until Ctrl+C, SIGTERM or SIGHUP.

    Raises:
        DWNetError: if the models or the clip cannot be used, or the port is taken.
    """
    _check(options)
    limit_clips(options.max_pixels, options.max_memory_mb)
    networks = load_networks(options.models or models_folder(), threads=options.threads).smoothed(options.smooth)
    if options.clip is not None and not options.clip.is_file():
        raise DWNetError(f"--clip {options.clip}: there is no such file")
    clip = options.clip or sample_clip()
    # These signals end the page like Ctrl+C. Gradio then removes uploads, and the workspace is removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dwnet-") as workspace:
        page = build(Callbacks(networks, Path(workspace)), clip if clip.is_file() else None)
        try:
            page.launch(
                server_name=options.host,
                server_port=options.port,
                inbrowser=options.browser,
                share=False,
                max_file_size=f"{options.max_mb}mb",
                theme=theme(),
                css=CSS,
                footer_links=["api"],
                ssr_mode=False,
                run_history=False,
                enable_monitoring=False,
            )
        except OSError as error:  # the port is taken, or the address belongs to another machine
            port = options.port or "7860 or above"
            raise DWNetError(f"cannot listen on {options.host}, port {port}: {error}") from error


def _check(options: PageOptions) -> None:
    """Raises DWNetError for an address that cannot be listened on, or an upload limit below 1 MB."""
    if options.port is not None and not 1 <= options.port <= 65535:
        raise DWNetError(f"--port is {options.port}; allowed are 1..65535")
    if options.max_mb < 1:
        raise DWNetError(f"--max-mb is {options.max_mb}; allowed are whole numbers from 1")
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:  # the port is taken, or the address belongs to another machine
        port = "any port" if options.port is None else f"port {options.port}"
        raise DWNetError(f"cannot listen on {options.host}, {port}: {error}") from error
    # Gradio asks its own page over HTTP at the start. A proxy must not answer that.
    local = ["localhost", "127.0.0.1", options.host]
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), *local])


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and serves the page; an input error ends the process with status 1."""
    options = tyro.cli(PageOptions, args=arguments, prog="python -m app", description="Opens the comparison page.")
    try:
        serve(options)
    except ValueError as error:
        sys.exit(f"python -m app: {error}")
    except KeyboardInterrupt:  # Ctrl+C or SIGTERM while the page was still starting
        sys.exit(130)


if __name__ == "__main__":
    main()
