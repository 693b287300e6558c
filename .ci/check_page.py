"""Checks an installation: `python check_page.py COMMAND...` starts the page with COMMAND and requests it over HTTP.

The script also checks that PyTorch is not installed, which shows that the page does not need it.
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
    """Starts the page, requests it until it answers, and stops it with SIGTERM. Exits with a message on failure."""
    if importlib.util.find_spec("torch") is not None:
        sys.exit("PyTorch is installed; this check needs an environment without it")
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
