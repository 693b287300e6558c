"""Progress of what works through frames, on stderr."""

import sys
import time


class Progress:
    """Says how far it is and when it will be done: in place on a terminal, else twice a minute, as logs have it."""

    def __init__(self, name: str) -> None:
        self.name, self.start = name, time.monotonic()
        self.live = sys.stderr.isatty()
        self.said = self.start

    def __call__(self, done: int, total: int | None) -> None:
        """`done` of `total` frames are done, at least 1; None where nobody knows how many there are."""
        now = time.monotonic()
        if now - self.said < (0.1 if self.live else 30.0):
            return
        self.said = now
        rate = done / (now - self.start)
        left = f"/{total} frames, {max(total - done, 0) / rate:.0f} s left" if total else " frames"
        start, end = ("\r", "  ") if self.live else ("", "\n")
        print(f"{start}{self.name}: {done}{left}, {rate:.1f} frames/s", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line."""
        if self.live:
            print(file=sys.stderr)
