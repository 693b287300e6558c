"""`python -m app`: opens the comparison page in the browser."""

import os
import sys
from collections.abc import Sequence

import tyro

# Set before Gradio is imported. Otherwise Gradio sends usage data over the network.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from dwnet.cli.demo import PageOptions
from dwnet.cli.options import limit_clips, use_runtime
from dwnet.comparison import load_networks
from dwnet.core.bundled import models_folder
from dwnet.core.errors import DWNetError
from dwnet.video import set_default_decoder

from .callbacks import Callbacks
from .examples import examples, style
from .main import build
from .server import end_process, keep_uploads_in, run_server, web_app
from .settings import page_address, page_limits
from .storage import Storage


def serve(options: PageOptions) -> None:
    """Loads the networks and serves the page until Ctrl+C, SIGTERM or SIGHUP.

    Raises:
        DWNetError: if the models or the clip cannot be used, a limit is out of range, or the port is taken.
    """
    address = page_address(options)
    limits = page_limits(options, address.host)
    limit_clips(options.max_pixels, options.max_memory_mb)
    set_default_decoder(options.decoder)
    if options.clip is not None and not options.clip.is_file():
        raise DWNetError(f"--clip {options.clip}: there is no such file")
    use_runtime(options.runtime, options.device)
    networks = load_networks(options.models or models_folder(), threads=options.threads).smoothed(options.smooth)
    with Storage(max_mb=limits.disk_mb, keep_hours=limits.keep_hours) as storage:
        keep_uploads_in(storage.uploads)  # they are removed by age and size, and with the folder at the end
        callbacks = Callbacks(networks, storage, limits, address.root_path)
        shown = examples(options.clip)
        app = web_app(build(callbacks, shown), storage, limits, address, style(shown))
        try:
            run_server(app, callbacks, address, browser=options.browser)
        except OSError as error:
            raise DWNetError(f"cannot listen on {address.host}, port {address.port}: {error}") from error
        finally:
            callbacks.turns.close()
            end_process(callbacks, storage)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and serves the page; an input error ends the process with status 1."""
    options = tyro.cli(PageOptions, args=arguments, prog="python -m app", description="Opens the comparison page.")
    try:
        serve(options)
    except ValueError as error:
        sys.exit(f"python -m app: {error}")
    except KeyboardInterrupt:  # Ctrl+C while the page was still starting
        sys.exit(130)


if __name__ == "__main__":
    main()
