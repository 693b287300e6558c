"""Settings of a comparison."""

from pathlib import Path

import pytest

from dwnet.comparison import (
    ComparisonSettings,
    Networks,
    compare,
)
from dwnet.core.errors import DWNetError
from tests.comparison.colours import run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flow": "raft"}, "unknown flow 'raft'; allowed: dis"),
        ({"max_side": 8}, "max_side is 64 to 4096 px, found 8"),
        ({"every": 0}, "every is at least 1"),
        ({"limit": 1}, "limit is at least 2 frames"),
        ({"opacity": 1.5}, "opacity is 0 to 1, found 1.5"),
    ],
)
def test_settings_out_of_range(
    blinking: Path, networks: Networks, tmp_path: Path, settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(blinking, networks, tmp_path, **settings)
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_are_an_error_before_the_first_frame(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    with pytest.raises(DWNetError, match="every is at least 1"):
        compare(blinking, networks, output_dir=tmp_path / "out", every=0)
    assert not (tmp_path / "out").exists()


def test_frames_that_settings_expect() -> None:
    settings = ComparisonSettings(every=3, limit=4)
    assert [settings.expected_frames(frames) for frames in (None, 0, 1, 7, 100)] == [4, 4, 1, 3, 4]
    assert settings.stop_index() == 10
    assert ComparisonSettings(every=3).stop_index() is None
    assert [settings.video_fps(fps) for fps in (30, 1e6, 0.1)] == [10, 120, 0.5]
