"""`python -m app`: opens the comparison demo in the browser."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Before Gradio is imported: it reports its use over the network otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from dwnet.comparison.networks import load_networks
from dwnet.core.bundled import models_folder, sample_clip

from .callbacks import Callbacks
from .main import build
from .style import CSS, theme


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--models", type=Path, default=models_folder(), help="folder of exported networks (.onnx)")
    parser.add_argument("--clip", type=Path, default=sample_clip(), help="clip that is chosen at first")
    parser.add_argument("--max-mb", type=int, default=500, help="largest upload in megabytes")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads per network; default: all")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the networks, serve the page until Ctrl+C."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        networks = load_networks(options.models, threads=options.threads)
    except ValueError as error:
        sys.exit(f"python -m app: {error}")
    if not options.clip.is_file() and options.clip != sample_clip():
        sys.exit(f"python -m app: --clip {options.clip}: there is no such file")
    # They end it like Ctrl+C: Gradio removes what was uploaded, and the workspace is cleared.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dwnet-") as workspace:
        sample = options.clip if options.clip.is_file() else None
        page = build(Callbacks(networks, Path(workspace)), sample)
        try:
            page.launch(
                server_name=options.host,
                server_port=options.port,
                inbrowser=not options.no_browser,
                share=False,
                max_file_size=f"{options.max_mb}mb",
                theme=theme(),
                css=CSS,
                footer_links=["api"],
                ssr_mode=False,
                run_history=False,
                enable_monitoring=False,
            )
        except OSError as error:  # the port is taken, or the address another machine's
            sys.exit(f"python -m app: cannot listen on {options.host}, port {options.port or '7860 or above'}: {error}")


if __name__ == "__main__":
    main()
