"""The live flicker curve, in constant memory, as SVG."""

from collections.abc import Mapping, Sequence
from html import escape

from .style import method_colour, method_name

MAX_POINTS = 240
WIDTH, HEIGHT = 560, 190
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 8, 24


class FlickerCurve:
    """Flips per frame and method. At `MAX_POINTS` points, neighbouring points are averaged in pairs."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.methods = tuple(methods)
        self.frames_per_point = 1
        self.seconds: list[float] = []
        """Time of the first frame of each point."""
        self.flips_percent: dict[str, list[float]] = {method: [] for method in self.methods}
        self._open: list[tuple[float, dict[str, float]]] = []

    def add(self, pts_seconds: float, flips_percent: Mapping[str, float]) -> None:
        """Adds a frame: its time in seconds, and the flips of each method in percent."""
        self._open.append((pts_seconds, dict(flips_percent)))
        if len(self._open) < self.frames_per_point:
            return
        self.seconds.append(self._open[0][0])
        for method in self.methods:
            self.flips_percent[method].append(sum(values[method] for _, values in self._open) / len(self._open))
        self._open.clear()
        if len(self.seconds) == MAX_POINTS:
            self.seconds = self.seconds[::2]
            for method, values in self.flips_percent.items():
                self.flips_percent[method] = [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=True)]
            self.frames_per_point *= 2

    def svg(self) -> str:
        """Returns an SVG with one line per method over the time of the clip; without points, empty axes."""
        top = _round_up(max((max(values) for values in self.flips_percent.values() if values), default=1.0))
        first, last = (self.seconds[0], self.seconds[-1]) if self.seconds else (0.0, 1.0)
        span = max(last - first, 1e-9)

        def x(seconds: float) -> float:
            return LEFT + (WIDTH - LEFT - RIGHT) * (seconds - first) / span

        def y(percent: float) -> float:
            return TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / top)

        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Label flips per frame, one line per method">'
        ]
        for step in range(3):
            level = top * step / 2
            parts.append(
                f'<line class="dw-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>'
            )
            parts.append(f'<text x="{LEFT - 5}" y="{y(level) + 4:.1f}" text-anchor="end">{level:g} %</text>')
        if self.seconds:
            parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{first:.1f} s</text>')
            parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{last:.1f} s</text>')
        for position, method in enumerate(self.methods):
            points = list(zip(self.seconds, self.flips_percent[method], strict=True))
            if len(points) == 1:  # a line needs two ends
                points = [points[0], (points[0][0] + span, points[0][1])]
            path = " ".join(f"{x(seconds):.1f},{y(percent):.1f}" for seconds, percent in points)
            parts.append(
                f'<polyline data-method="{escape(method)}" points="{path}" fill="none" stroke-width="1.8" '
                f'stroke-linejoin="round" stroke="{method_colour(position)}">'
                f"<title>{escape(method_name(method))}</title></polyline>"
            )
        return "".join([*parts, "</svg>"])


def _round_up(value: float) -> float:
    """Returns the next number of the form 1, 2 or 5 x 10^n, at least 1, so that the axis has few, readable steps."""
    scale = 1.0
    while True:
        for digit in (1, 2, 5):
            if value <= digit * scale:
                return digit * scale
        scale *= 10
