"""The measuring functions of the benchmarks find known amounts of memory, and the order and ratio of known times."""

import time

import pytest
import torch

from tests.benchmarks.measure import markdown, peak_bytes, side_by_side

CPU = torch.device("cpu")
MIB = 2**20


def test_peak_memory_is_the_most_that_is_held_at_once() -> None:
    def run() -> None:
        for _ in range(3):
            first = torch.zeros(2 * MIB)  # 8 MiB
            second = torch.zeros(MIB)  # 4 MiB
            del first, second

    assert peak_bytes(run, CPU) == pytest.approx(12 * MIB, rel=0.01)


def test_what_was_held_before_is_not_counted() -> None:
    before = torch.zeros(4 * MIB)
    assert peak_bytes(lambda: before[:MIB] + 1, CPU) == pytest.approx(4 * MIB, rel=0.01)


def test_variants_take_turns_and_are_compared_with_the_first() -> None:
    calls = []

    def sleeping(name: str, seconds: float) -> None:
        calls.append(name)
        time.sleep(seconds)

    variants = {"slow": lambda: sleeping("slow", 0.1), "fast": lambda: sleeping("fast", 0.02)}
    slow, fast = side_by_side(variants, rounds=2, device=CPU)
    assert calls == ["slow", "fast"] * 3  # once for memory, then the rounds
    assert slow.ratio == 1
    assert fast.median_ms < slow.median_ms
    assert fast.ratio < 0.9
    assert "| fast |" in markdown("sleep", [slow, fast])


def test_there_must_be_something_to_measure() -> None:
    with pytest.raises(ValueError, match="found 0 and 3"):
        side_by_side({}, rounds=3, device=CPU)
    with pytest.raises(ValueError, match="found 1 and 0"):
        side_by_side({"nothing": lambda: None}, rounds=0, device=CPU)
