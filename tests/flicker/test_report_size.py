"""Size of the reports of `dwnet flicker`."""

from pathlib import Path

import pytest

from dwnet.cli.main import main
from dwnet.viewer import player
from tests.benchmarks.flicker import make_clip, make_labels, write_labels

FRAMES = 200
MOST_BYTES = 300_000


@pytest.mark.slow
@pytest.mark.parametrize("player_mb", [0, 200])
def test_reports_without_the_frames_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, player_mb: int) -> None:
    """Two sets of nineteen classes at 480 x 360. The player's frames are in their own folder."""
    monkeypatch.setattr(player, "EMBEDDED_BYTES", 0)
    make_clip(tmp_path / "clip.mp4", FRAMES, 480, 360)
    sets = [str(write_labels(tmp_path / name, make_labels(FRAMES, 480, 360, ord(name)))) for name in ("a", "b")]
    options = ["--flow", "dis_fast", "--player-mb", str(player_mb), "--output", str(tmp_path / "out")]
    assert main(["flicker", str(tmp_path / "clip.mp4"), *sets, *options]) == 0
    found = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert {"flicker.html", "flicker.json", "flicker.csv"} <= set(found)
    assert sum(found.values()) < MOST_BYTES, found
