"""Mean and quantiles of a stream of numbers, in constant memory."""

import math

import numpy as np


class Spread:
    """Mean and quantiles of positive numbers. The quantiles come from a histogram with bins 1 % wide."""

    BIN_RATIO = 1.01
    LOWEST, HIGHEST = 1e-3, 1e6

    def __init__(self) -> None:
        bins = math.ceil(math.log(self.HIGHEST / self.LOWEST) / math.log(self.BIN_RATIO))
        self._counts = np.zeros(bins, np.int64)
        self._total = 0.0
        self.count = 0
        """Number of values so far."""

    def update(self, value: float) -> None:
        """Adds one value. A value outside the range of the histogram counts in its first or last bin."""
        position = math.log(max(value, self.LOWEST) / self.LOWEST) / math.log(self.BIN_RATIO)
        self._counts[min(int(position), len(self._counts) - 1)] += 1
        self._total += value
        self.count += 1

    @property
    def mean(self) -> float:
        """Mean of all values; NaN before the first value."""
        return self._total / self.count if self.count else math.nan

    @property
    def median(self) -> float:
        """Lower median, within 0.5 %; NaN before the first value."""
        return self.quantile(0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile, within 0.5 %; NaN before the first value."""
        return self.quantile(0.25), self.quantile(0.75)

    def quantile(self, share: float) -> float:
        """Returns the quantile at `share` (0..1), within 0.5 %; NaN before the first value."""
        if not self.count:
            return math.nan
        rank = max(math.ceil(share * self.count), 1)
        bin_index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return self.LOWEST * self.BIN_RATIO ** (bin_index + 0.5)
