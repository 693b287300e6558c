"""The page and the relabelling folder of a comparison: their frames, numbers and files."""

import base64
import csv
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dwnet.comparison import ComparisonFiles, Networks, compare
from dwnet.viewer import player as player_module
from tests.comparison.colours import FRAMES
from tests.exported import textured_frame, write_clip

METHODS = ["baseline", "static_warp", "dwnet"]


def run(clip: Path, networks: Networks, output: Path, **settings: Any) -> tuple[list[Any], ComparisonFiles]:
    frames = list(compare(clip, networks, output_dir=output, **settings))
    return frames, ComparisonFiles.beside(output, clip)


def description(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(text)


def delivered(text: str) -> dict[str, Any]:
    """Returns the parts of the data in a page or a file, by name."""
    return {part: json.loads(data) for part, data in re.findall(r'deliver\("\w+","(\w+)",(.*)\);', text)}


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, f"<{packed['type']}").reshape(packed["shape"])


def png(data: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_page_holds_labels_flips_and_counts(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames, files = run(blinking, networks, tmp_path, video=True, refined_flow=True)
    page = files.page.read_text(encoding="utf-8")
    found, data = description(page), delivered(page)
    assert [method["key"] for method in found["methods"]] == METHODS
    assert [method["name"] for method in found["methods"]] == ["Baseline", "Static warp", "DWNet"]
    assert found["classes"] == ["Red", "Green", "Blue"]
    assert found["layers"] == {"coarse": True, "refined": True, "weight": True}
    linked = (files.video, files.csv, files.json)
    assert [link["file"] for link in found["files"]] == [f"./{path.name}" for path in linked]
    assert "http" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    stored = [frame for part, chunk in data.items() if part != "numbers" for frame in chunk]
    assert len(stored) == FRAMES
    for frame, kept in zip(frames, stored, strict=True):
        for method, labels in zip(METHODS, kept["l"], strict=True):
            np.testing.assert_array_equal(png(labels), frame.methods[method].labels)
    assert stored[0]["f"] == [None] * 3
    flips = png(stored[3]["f"][0])
    assert (flips == 1).any()
    assert not (flips == 0).any()  # every compared pixel flips at frame 3
    share = 100 * (flips != 2).mean()
    assert frames[3].comparable_percent == pytest.approx(share, abs=2)
    counts = unpacked(data["numbers"]["counts"])
    kept, now = counts[:, :3].sum(axis=1), counts[:, 6:9].sum(axis=1)
    for place, method in enumerate(METHODS):
        for index, frame in enumerate(frames):
            percent = frame.methods[method].flips_percent
            if percent is None:
                assert now[place, index] == 0
            else:
                assert 100 * (1 - kept[place, index] / now[place, index]) == pytest.approx(percent)
    latency = unpacked(data["numbers"]["latency"])
    assert latency[2, 1] == pytest.approx(frames[2].methods["static_warp"].latency_ms, rel=1e-6)


def test_the_worst_frames_are_a_folder(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames, files = run(blinking, networks, tmp_path, worst=4)
    with (files.worst / "frames.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["3"]  # the only frame with flips
    assert float(rows[0]["baseline_flips_percent"]) == 100
    for method in METHODS:
        labels = np.array(Image.open(files.worst / f"labels/{method}/000003.png"))
        np.testing.assert_array_equal(labels, frames[3].methods[method].labels)
    assert Image.open(files.worst / "images/000003.jpg").size == (128, 64)


def test_what_is_not_wanted_is_not_written(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    """A second run without player and worst frames removes those of the first one."""
    _, files = run(blinking, networks, tmp_path, video=True)
    assert files.page.exists()
    assert files.worst.is_dir()
    assert files.video.exists()
    _, files = run(blinking, networks, tmp_path)
    assert not files.video.exists()
    found = description(files.page.read_text(encoding="utf-8"))
    assert [link["file"] for link in found["files"]] == [f"./{files.csv.name}", f"./{files.json.name}"]
    assert found["layers"] == {"coarse": True, "refined": False, "weight": True}
    _, files = run(blinking, networks, tmp_path, player_mb=0)
    assert not files.page.exists()
    assert files.worst.is_dir()
    _, files = run(blinking, networks, tmp_path, player_mb=0, worst=0)
    assert sorted(tmp_path.iterdir()) == sorted([files.csv, files.json])
    still = write_clip(tmp_path / "still.mp4", [textured_frame()] * 3)
    _, files = run(still, networks, tmp_path / "out")
    assert not files.worst.exists()  # nothing flips
    assert files.page.exists()


def test_long_clips_have_chunks_beside_the_page(
    blinking: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player_module, "EMBEDDED_BYTES", 0)
    monkeypatch.setattr(player_module, "CHUNK_BYTES", 1)
    for _ in range(2):  # the second run replaces the folder of the first one
        _, files = run(blinking, networks, tmp_path)
        names = ["numbers.js", *(f"frames-{place:05d}.js" for place in range(FRAMES))]
        assert sorted(path.name for path in files.frames.iterdir()) == sorted(names)
        found = description(files.page.read_text(encoding="utf-8"))
        assert [chunk["file"] for chunk in found["chunks"]] == [f"./{files.frames.name}/{name}" for name in names[1:]]
        assert found["numbers"] == f"./{files.frames.name}/numbers.js"
    monkeypatch.undo()
    _, files = run(blinking, networks, tmp_path)
    assert not files.frames.exists()  # everything is in the page


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"player_mb": -1}, "player_mb is 0"), ({"worst": 1000}, "worst is 0 to 999"), ({"worst": 1.5}, "worst is 1.5")],
)
def test_settings_out_of_range(
    blinking: Path, networks: Networks, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(blinking, networks, tmp_path, **settings)
