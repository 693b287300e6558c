"""Mean and quantiles of a stream of numbers, in constant memory."""

import math

import numpy as np


class Spread:
    """Mean and quantiles of positive numbers; the quantiles come from a histogram with bins 1 % wide."""

    BIN_RATIO = 1.01
    LOWEST, HIGHEST = 1e-3, 1e6

    def __init__(self) -> None:
        bins = math.ceil(math.log(self.HIGHEST / self.LOWEST) / math.log(self.BIN_RATIO))
        self._counts = np.zeros(bins, np.int64)
        self._total = 0.0
        self.count = 0
        """Numbers so far."""

    def update(self, value: float) -> None:
        """Counts one number. A number beyond the histogram's range counts in the outermost bin."""
        position = math.log(max(value, self.LOWEST) / self.LOWEST) / math.log(self.BIN_RATIO)
        self._counts[min(int(position), len(self._counts) - 1)] += 1
        self._total += value
        self.count += 1

    @property
    def mean(self) -> float:
        """NaN before the first number."""
        return self._total / self.count if self.count else math.nan

    @property
    def median(self) -> float:
        """The lower median, within 0.5 %; NaN before the first number."""
        return self.quantile(0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile, within 0.5 %; NaN before the first number."""
        return self.quantile(0.25), self.quantile(0.75)

    def quantile(self, share: float) -> float:
        """Returns the number that `share` (0..1) of all numbers do not exceed, within 0.5 %; NaN without numbers."""
        if not self.count:
            return math.nan
        rank = max(math.ceil(share * self.count), 1)
        bin_index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return self.LOWEST * self.BIN_RATIO ** (bin_index + 0.5)
