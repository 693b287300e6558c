"""The settings of the page, from the command line and the environment, checked."""

import ipaddress
import os
import socket
from dataclasses import dataclass

from dwnet.cli.demo import PageOptions
from dwnet.core.errors import DWNetError

FIRST_PORT, PORTS = 7860, 100
"""Without a port, the first free one of these is taken."""


@dataclass(frozen=True)
class PageLimits:
    """What visitors may use of the server. The page states these limits."""

    upload_mb: int = 500
    megapixels: float = 40.0
    """Of a frame."""
    minutes: float = 60.0
    """Length of a clip."""
    waiting: int = 10
    """Comparisons that wait while one runs."""
    disk_mb: int = 10_000
    """All uploads and results together."""
    keep_hours: float = 6.0
    upload_models: bool = True
    """Whether visitors may upload networks."""

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--max-mb", self.upload_mb, 1),
            ("--max-waiting", self.waiting, 0),
            ("--max-disk-mb", self.disk_mb, self.upload_mb),
        ):
            if value < least:
                raise DWNetError(f"{option} is {value}; allowed are whole numbers from {least}")
        for option, number in (("--max-minutes", self.minutes), ("--keep-hours", self.keep_hours)):
            if not number > 0:
                raise DWNetError(f"{option} is {number:g}; allowed are numbers above 0")

    def text(self) -> str:
        """Returns the limits in a sentence for visitors."""
        return (
            f"Limits: {self.upload_mb} MB for a file, {self.megapixels:g} megapixels for a frame, {self.minutes:g} min "
            f"for a clip, {self.waiting} waiting comparisons, "
            f"{self.disk_mb / 1000:g} GB for the files of all visitors. "
            f"Files are kept for {self.keep_hours:g} h after their last use, at most until the server ends."
        )


@dataclass(frozen=True)
class Address:
    """Where the page listens."""

    host: str
    port: int
    root_path: str
    """Path of the page behind a proxy, without a slash at the end; empty without one."""

    @property
    def url(self) -> str:
        """Address of the page on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{self.port}"


def page_limits(options: PageOptions, host: str) -> PageLimits:
    """Returns the limits. Networks may be uploaded by default if only this machine reaches the page."""
    from dwnet.video import ClipLimits

    pixels = options.max_pixels or ClipLimits().max_pixels
    upload = options.upload_models == "yes" or (options.upload_models == "auto" and is_loopback(host))
    return PageLimits(
        options.max_mb,
        pixels / 1e6,
        options.max_minutes,
        options.max_waiting,
        options.max_disk_mb,
        options.keep_hours,
        upload,
    )


def page_address(options: PageOptions) -> Address:
    """Returns the address. Options come before the variables GRADIO_SERVER_NAME, GRADIO_SERVER_PORT, GRADIO_ROOT_PATH.

    Raises:
        DWNetError: for a port out of range or taken, or a host that this machine does not have.
    """
    environment = os.environ.get
    host = options.host if options.host is not None else environment("GRADIO_SERVER_NAME") or "127.0.0.1"
    port = options.port if options.port is not None else _environment_port()
    root = options.root_path if options.root_path is not None else environment("GRADIO_ROOT_PATH") or ""
    if root and not root.startswith("/"):
        raise DWNetError(f"--root-path is {root}; allowed is a path such as /dwnet")
    if port is not None and not 1 <= port <= 65535:
        raise DWNetError(f"--port is {port}; allowed are 1..65535")
    last: OSError | None = None
    for one in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,):
        try:
            _try_to_listen(host, one)
        except OSError as error:  # the port is taken, or the address belongs to another machine
            last = error
        else:
            return Address(host, one, root.rstrip("/"))
    wanted = "any port" if port is None else f"port {port}"
    raise DWNetError(f"cannot listen on {host}, {wanted}: {last}") from last


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _environment_port() -> int | None:
    text = os.environ.get("GRADIO_SERVER_PORT")
    if not text:
        return None
    if not text.isdecimal():
        raise DWNetError(f"GRADIO_SERVER_PORT is {text}; allowed are 1..65535")
    return int(text)


def _try_to_listen(host: str, port: int) -> None:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
