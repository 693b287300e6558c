"""The player of the report of `dwnet flicker`: its frames and figures, of one clip and of a corpus."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dwnet.core.errors import DWNetError
from dwnet.flicker import measure_flicker
from dwnet.flicker.corpus import CorpusClip
from dwnet.flicker.player import share_mb
from dwnet.flicker.record import assemble
from dwnet.flicker.run import measure_corpus, write_reports
from dwnet.flicker.settings import Settings
from dwnet.viewer import player as player_module
from tests.flicker.short_clip import H, T, W, write_clip, write_labels


def delivered(text: str) -> dict[str, Any]:
    """Returns the parts of the data in a page or a file, by name."""
    return {part: json.loads(data) for part, data in re.findall(r'deliver\("\w+","(\w+)",(.*)\);', text)}


def frames_of(text: str) -> list[dict[str, Any]]:
    return [frame for part, chunk in delivered(text).items() if part != "numbers" for frame in chunk]


def description(page: str) -> dict[str, Any]:
    return json.loads(re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)[0])


def png(data: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    clip = write_clip(tmp_path / "clip", 0)
    return clip, {
        "calm": write_labels(tmp_path / "calm.npy", 0, 0),
        "wild": write_labels(tmp_path / "wild.npy", 0, 0.2),
    }


def test_the_report_holds_the_labels_and_flips(inputs: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    clip, sets = inputs
    report = measure_flicker(clip, sets, output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["flicker.csv", "flicker.html", "flicker.json"]
    page = (tmp_path / "out/flicker.html").read_text(encoding="utf-8")
    found = description(page)
    assert [method["key"] for method in found["methods"]] == ["calm", "wild"]
    assert (found["width"], found["height"]) == (W, H)
    assert found["times"] is False
    assert found["layers"] == {"coarse": True, "refined": False, "weight": False}
    frames = frames_of(page)
    assert len(frames) == T
    flipped = compared = 0
    for index, frame in enumerate(frames):
        for name, labels in zip(sets, frame["l"], strict=True):
            np.testing.assert_array_equal(png(labels), np.load(sets[name])[index])
        if index:
            flips = png(frame["f"][1])
            flipped, compared = flipped + (flips == 1).sum(), compared + (flips != 2).sum()
    assert 100 * flipped / compared == pytest.approx(report["wild"].flips_percent)
    # The classes have no names; their colours are in the label PNGs, too.
    picture = Image.open(io.BytesIO(base64.b64decode(frames[0]["l"][0])))
    palette = np.array(picture.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(palette[: len(found["palette"])], found["palette"])


def test_large_clips_have_a_folder_of_frames(
    inputs: tuple[Path, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is replaced by the next measurement, and removed by one without a player."""
    clip, sets = inputs
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(player_module, "EMBEDDED_BYTES", 0)
        measure_flicker(clip, sets, output=output)
    (output / "flicker_frames/old.js").write_text("of an earlier run")
    with monkeypatch.context() as patch:
        patch.setattr(player_module, "EMBEDDED_BYTES", 0)
        measure_flicker(clip, sets, output=output)
    found = description((output / "flicker.html").read_text(encoding="utf-8"))
    files = [chunk["file"] for chunk in found["chunks"]] + [found["numbers"]]
    written = [f"./flicker_frames/{path.name}" for path in (output / "flicker_frames").iterdir()]
    assert sorted(written) == sorted(files)
    measure_flicker(clip, sets, output=output, player_mb=0)
    assert sorted(path.name for path in output.iterdir()) == ["flicker.csv", "flicker.html", "flicker.json"]
    page = (output / "flicker.html").read_text(encoding="utf-8")
    assert "data-dwnet-player" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "Flips over time" in page
    assert "#frame=" not in page


def test_each_clip_of_a_corpus_has_a_page(inputs: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    clip, sets = inputs
    clips = [CorpusClip(name, clip, tuple(sets.items())) for name in ("a", "b c")]
    settings, output = Settings(), tmp_path / "out"
    records = measure_corpus(clips, settings, output)
    assert records is not None
    write_reports(assemble(records, settings), records, output)
    report = (output / "flicker.html").read_text(encoding="utf-8")
    for name in ("a", "b%20c"):
        assert f'href="clips/{name}.html"' in report
        assert re.search(rf'href="clips/{name}\.html#frame=\d+"', report)
    for one in clips:
        page = (output / f"clips/{one.name}.html").read_text(encoding="utf-8")
        assert description(page)["clip"] == one.name
        assert len(frames_of(page)) == T
    assert not list(output.rglob(".*"))


def test_what_a_killed_run_left_is_removed(inputs: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    clip, sets = inputs
    left = tmp_path / "out/.flicker_player/work"
    left.mkdir(parents=True)
    (left / "3.json").write_text("of a killed run")
    measure_flicker(clip, sets, output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["flicker.csv", "flicker.html", "flicker.json"]


def test_the_budget_is_shared_by_the_clips() -> None:
    assert [share_mb(200, clips) for clips in (1, 8, 1000)] == [200, 25, 1]
    assert share_mb(0, 3) == 0
    with pytest.raises(DWNetError, match="player_mb is -1; allowed are whole numbers from 0"):
        Settings(player_mb=-1)
