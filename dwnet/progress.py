"""Progress on the terminal."""

import sys
import time


class Progress:
    """One line on the terminal that counts frames and says when they will be done."""

    def __init__(self, name: str) -> None:
        self.name, self.start = name, time.monotonic()
        self.live = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` frames are done; at least 1 is."""
        if self.live:
            left = (time.monotonic() - self.start) / done * (total - done)
            print(f"\r{self.name}: {done}/{total} frames, {left:.0f} s left  ", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line."""
        if self.live:
            print(file=sys.stderr)
