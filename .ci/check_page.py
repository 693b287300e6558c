"""Checks an installation: `python check_page.py COMMAND...` starts the page by COMMAND, and asks for it over HTTP.

It also checks that PyTorch is not installed, so that the page and a comparison are known to need none.
"""

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

SECONDS = 120.0


def main(command: list[str]) -> None:
    """Starts the page, asks for it until it answers, and ends it by SIGTERM; exits with a message where it fails."""
    if importlib.util.find_spec("torch") is not None:
        sys.exit("PyTorch is installed; this environment must be the light one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    page = subprocess.Popen([*command, "--no-browser", "--port", str(port)])
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    text = answer.read().decode()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if page.poll() is not None:
                    sys.exit(f"{' '.join(command)} ended with status {page.returncode}")
                if time.monotonic() - started > SECONDS:
                    sys.exit(f"{' '.join(command)} did not answer within {SECONDS:.0f} s")
                time.sleep(0.2)
        if "DWNet" not in text:
            sys.exit(f"{' '.join(command)} answered with another page")
        print(f"{' '.join(command)}: the page answered after {time.monotonic() - started:.1f} s")
    finally:
        page.terminate()
        page.wait(30)


if __name__ == "__main__":
    main(sys.argv[1:])
