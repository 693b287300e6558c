"""Progress lines on stderr: frames done, speed, time left."""

import sys
import time


class Progress:
    """Prints the frames done, the speed and the time left.

    A terminal shows one line that is updated in place. A log gets two lines per minute.

    Args:
        name: name of the work, at the start of each line.
    """

    def __init__(self, name: str) -> None:
        self.name, self.start = name, time.monotonic()
        self.live = sys.stderr.isatty()
        self.said = self.start

    def __call__(self, done: int, total: int | None) -> None:
        """Reports progress.

        Args:
            done: frames done, at least 1.
            total: number of all frames; None if unknown.
        """
        now = time.monotonic()
        if now - self.said < (0.1 if self.live else 30.0):
            return
        self.said = now
        rate = done / (now - self.start)
        left = f"/{total} frames, {max(total - done, 0) / rate:.0f} s left" if total else " frames"
        start, end = ("\r", "  ") if self.live else ("", "\n")
        print(f"{start}{self.name}: {done}{left}, {rate:.1f} frames/s", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the progress line on a terminal."""
        if self.live:
            print(file=sys.stderr)
