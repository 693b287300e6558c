"""Rank, world size and threads from the launcher's environment variables."""

import pytest

from dwnet.core.errors import DWNetError
from dwnet.core.launch import ALONE, Processes, available_cpus, threads


def test_without_a_launcher_the_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.of_launcher() == ALONE
    assert threads(ALONE) == available_cpus()


def test_the_processes_of_a_machine_share_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    found = Processes.of_launcher()
    assert found == Processes(1, 4)
    assert threads(found) == max(1, available_cpus() // 2)


@pytest.mark.parametrize(("rank", "count"), [("4", "4"), ("-1", "2"), ("a", "2"), ("0", "")])
def test_a_rank_outside_the_world_is_refused(rank: str, count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(DWNetError, match=f"RANK is '{rank}' and WORLD_SIZE '{count}'"):
        Processes.of_launcher()


@pytest.mark.parametrize("here", ["0", "two", "-1"])
def test_a_machine_without_processes_is_refused(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    with pytest.raises(DWNetError, match=f"LOCAL_WORLD_SIZE is '{here}'; allowed are whole numbers from 1"):
        threads(ALONE)
