"""Encoding, counts, worst moments, the frame store, relabelling folders and colours, without a browser."""

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
import torch
from PIL import Image

from dwnet.core.class_files import read_class_file
from dwnet.core.classes import CAMVID_11, CITYSCAPES_19
from dwnet.core.errors import DWNetError
from dwnet.method.losses import occlusion_weight as training_weight
from dwnet.viewer import SAFE_COLOURS, PlayerFrame, PlayerInfo, PlayerMethod, PlayerWriter, safe_palette, worst_moments
from dwnet.viewer import counts as counts_module
from dwnet.viewer import occlusion_weight as shown_weight
from dwnet.viewer import player as player_module
from dwnet.viewer.frames import encode_frame, label_png
from dwnet.viewer.relabelling import folder_names
from dwnet.viewer.store import FrameStore, around_moment
from tests.viewer.runs import CLASSES, METHODS, PALETTE, make_run, write_page


def decoded(data: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


def test_labels_survive_exactly_with_their_colours() -> None:
    labels = np.random.default_rng(0).integers(0, 256, (37, 53)).astype(np.uint8)
    picture = Image.open(io.BytesIO(label_png(labels, PALETTE)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.array(picture), labels)
    painted = np.array(picture.convert("RGB"))
    assert {tuple(int(v) for v in colour) for colour in painted[labels == 1]} == {PALETTE[1]}
    assert {tuple(int(v) for v in colour) for colour in painted[labels == 255]} == {(255, 255, 255)}


def test_a_frame_is_encoded_with_flow_in_steps() -> None:
    """The flow is stored at half size, within half a step; the largest component is 127 steps."""
    flow = np.zeros((2, 8, 12), np.float32)
    flow[0], flow[1, :, 6:] = 3.0, -12.7
    flow[0, 0, 0] = np.nan
    labels = np.zeros((8, 12), np.uint8)
    image = np.full((8, 12, 3), 90, np.uint8)
    frame = PlayerFrame(3, 0.1, image, {"a": PlayerMethod(labels, None, None)}, coarse_flow_px=flow)
    content = json.loads(encode_frame(frame, PALETTE))
    assert content["f"] == [None]
    assert content["r"] is content["w"] is None
    step, picture = content["c"]
    assert step == pytest.approx(12.7 / 127)
    stored = decoded(picture)
    assert stored.shape == (2 * 4, 6)
    assert stored[0, 0] == stored[4, 0] == 0  # unknown
    known = (stored.astype(float) - 128) * step
    assert known[:4].ravel()[1:] == pytest.approx(3.0, abs=step / 2)
    assert known[4:, 3:].ravel() == pytest.approx(-12.7, abs=step / 2)
    assert np.abs(decoded(content["i"]).astype(int) - 90).max() <= 2


def test_worst_moments_are_apart_and_ordered() -> None:
    times = [0.1 * i for i in range(8)]
    flips = [None, 5.0, 9.0, 8.0, 7.0, 0.0, 9.0, 1.0]
    assert worst_moments(flips, times, 10) == [2, 6, 4]  # 3 and 1 are near 2; 7 is near 6; 0 and 5 flip nothing
    assert worst_moments(flips, times, 2) == [2, 6]
    assert worst_moments([], [], 3) == []


@pytest.mark.parametrize("frames", [5, 60, 1000])
def test_the_store_stays_in_its_budget_and_keeps_the_worst_moments(tmp_path: Path, frames: int) -> None:
    rng = np.random.default_rng(frames)
    store, budget, times = FrameStore(tmp_path, 20_000), 20_000, [i / 25 for i in range(frames)]
    flips = rng.random(frames)
    worst = frames // 2
    flips[worst] = 50.0
    for position in range(frames):
        store.add("x" * 200, float(flips[position]), times[position])
        assert store.bytes <= budget
        if position % 20 == 0:
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) == store.bytes
    kept = store.positions
    if frames * 200 <= budget:
        assert kept == list(range(frames))
        assert not store.thinned
    else:
        assert store.thinned
        assert len(kept) > 40  # the budget is used
        assert set(range(0, frames, store.every)) <= set(kept)
        assert set(around_moment(worst, times)) <= set(kept)
        assert len(around_moment(worst, times)) == 21
    assert frames - 1 in kept
    assert store.take(kept[0]) == "x" * 200


def test_a_frame_larger_than_the_budget_stays(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 100)
    for position in range(5):
        store.add("y" * 300, None, position / 10)
    assert store.positions == [4]


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, f"<{packed['type']}").reshape(packed["shape"])


def test_counts_are_those_of_the_transitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later frame with more classes moves the counts of the earlier ones to their places."""
    run = make_run(frames=4, cut=2)
    small = [dict(frame.methods) for frame in run.frames]
    for method in METHODS:  # two classes in frame 1, three in frame 3
        table = run.transitions[1][method]
        assert table is not None
        shrunk = np.minimum(table[:, :2, :2], 9)
        small[1][method] = PlayerMethod(run.labels[1][method], small[1][method].flips, shrunk, 1.0, 0.5)
    captured: dict[str, Any] = {}
    with PlayerWriter(tmp_path / "s", METHODS, PALETTE, budget_bytes=10**6) as writer:
        for frame, methods in zip(run.frames, small, strict=True):
            writer.add(PlayerFrame(frame.number, frame.pts_seconds, frame.image, methods))
        captured = writer._counts.packed()
    counts = unpacked(captured["counts"])
    assert counts.shape == (2, 3 * 3 + 2, 4)
    assert (counts[:, :, [0, 2]] == 0).all()
    for place, method in enumerate(METHODS):
        for index in (1, 3):
            table = small[index][method].transitions
            assert table is not None
            flat, k = table.sum(axis=0), table.shape[1]
            found = counts[place, :, index]
            np.testing.assert_array_equal(found[:k], np.diag(flat))
            np.testing.assert_array_equal(found[3 : 3 + k], flat.sum(axis=1))
            np.testing.assert_array_equal(found[6 : 6 + k], flat.sum(axis=0))
            assert found[9] == table[1].sum()
            assert found[10] == table[1].sum() - np.trace(table[1])
    pixels = unpacked(captured["pixels"])
    np.testing.assert_array_equal(pixels[:, 0], counts[:, :3].sum(axis=1))
    np.testing.assert_array_equal(pixels[:, 1], counts[:, 6:9].sum(axis=1))
    assert captured["step"] == 1
    np.testing.assert_array_equal(unpacked(captured["number"]), [100, 101, 102, 103])
    assert unpacked(captured["pts"]) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert unpacked(captured["latency"])[1] == pytest.approx([1.0, 1.0])


def test_counts_of_long_clips_are_sums_over_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve frames, two methods and eleven counts: at most 100 counts allow steps of three frames."""
    run = make_run()

    def counts_of(name: str) -> dict[str, Any]:
        with PlayerWriter(tmp_path / name, METHODS, PALETTE, budget_bytes=10**6) as writer:
            for frame in run.frames:
                writer.add(frame)
            return writer._counts.packed()

    whole = counts_of("a")
    monkeypatch.setattr(counts_module, "MOST_COUNTS", 100)
    steps = counts_of("b")
    assert (whole["step"], steps["step"]) == (1, 3)
    every = unpacked(whole["counts"])
    np.testing.assert_array_equal(unpacked(steps["counts"]), every.reshape(2, 11, 4, 3).sum(axis=-1))
    np.testing.assert_array_equal(unpacked(steps["pixels"]), unpacked(whole["pixels"]))


def test_the_relabelling_folder(tmp_path: Path) -> None:
    run = make_run()
    write_page(tmp_path, run, worst=3)
    folder = tmp_path / "worst"
    with (folder / "frames.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    flips = [max(run.flips_percent(method, i) or 0 for method in METHODS) for i in range(len(run.frames))]
    expected = worst_moments(flips, [frame.pts_seconds for frame in run.frames], 3)
    assert [int(row["frame"]) - 100 for row in rows] == expected
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    for row, index in zip(rows, expected, strict=True):
        assert float(row["wild <i>_flips_percent"]) == pytest.approx(run.flips_percent(METHODS[1], index), abs=5e-5)
        assert Image.open(folder / row["image"]).size == (64, 48)
        for method, name in zip(METHODS, ("calm", "wild_i"), strict=True):
            labels = np.array(Image.open(folder / f"labels/{name}/{int(row['frame']):06d}.png"))
            np.testing.assert_array_equal(labels, run.labels[index][method])
    assert read_class_file(folder / "classes.json").classes.classes == CLASSES
    assert read_class_file(folder / "classes.json").classes.palette == PALETTE


def test_folder_names_are_safe_and_differ() -> None:
    names = folder_names(["a", "A", "../x", "ß", "b/c", "b:c", "..", "日本"])
    assert names == ["a", "A_2", "x", "method", "b_c", "b_c_2", "method_2", "method_3"]


def test_the_player_refuses_frames_that_do_not_fit(tmp_path: Path) -> None:
    run = make_run(frames=2)
    with pytest.raises(DWNetError, match="at least one method; found none"):
        PlayerWriter(tmp_path / "a", [], PALETTE, budget_bytes=10**6)
    with pytest.raises(DWNetError, match="budget of at least 1 MB; found 5 bytes"):
        PlayerWriter(tmp_path / "a", METHODS, PALETTE, budget_bytes=5)
    with PlayerWriter(tmp_path / "a", ["x"], PALETTE, budget_bytes=10**6) as writer:
        with pytest.raises(DWNetError, match="frame 100 has the methods calm, wild <i>; allowed are x"):
            writer.add(run.frames[0])
        with pytest.raises(DWNetError, match=r"clip\.mp4: no frame for a player"):
            writer.finish(PlayerInfo("t", "clip.mp4", CLASSES, PALETTE), tmp_path / "files")
    with PlayerWriter(tmp_path / "a", METHODS, PALETTE, budget_bytes=10**6) as writer:
        writer.add(run.frames[0])
        narrow = {name: PlayerMethod(one.labels[:, :60], None, None) for name, one in run.frames[1].methods.items()}
        with pytest.raises(DWNetError, match="frame 101 and its labels are 60 x 48, 64 x 48 px; allowed is 64 x 48 px"):
            writer.add(PlayerFrame(101, 0.1, run.frames[1].image, narrow))
    assert not (tmp_path / "a").exists()


def test_the_occlusion_weight_is_that_of_training() -> None:
    rng = np.random.default_rng(0)
    image, neighbour = (np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(2))
    flow = rng.normal(0, 3, (2, 40, 48)).astype(np.float32)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float()[None] / 255

    weight, valid = training_weight(tensor(image), tensor(neighbour), torch.from_numpy(flow)[None])
    expected = np.where(valid[0, 0].numpy(), weight[0, 0].numpy(), 0)
    found = shown_weight(image, neighbour, flow)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.05
    assert shown_weight(image, image, np.zeros_like(flow)).min() == 1


def oklab(colours: np.ndarray) -> np.ndarray:
    """Returns the Oklab values of linear RGB colours (N, 3)."""
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_lms += [[0.0883024619, 0.2817188376, 0.6299787005]]
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab += [[0.0259040371, 0.7827717662, -0.8086757660]]
    return np.cbrt(np.clip(colours, 0, 1) @ np.array(to_lms).T) @ np.array(to_lab).T


def smallest_distance(palette: Any) -> float:
    """Returns the smallest distance of two colours in Oklab, over normal vision and three deficiencies."""
    deficiencies = (  # Machado, Oliveira, Fernandes: IEEE TVCG 15(6), 2009, table 1, severity 1
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    )
    values = np.array(palette) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    distances = []
    for matrix in deficiencies:
        lab = oklab(linear @ np.array(matrix).T)
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
        distances.append(apart[~np.eye(len(lab), dtype=bool)].min())
    return min(distances)


def test_the_safe_colours_can_be_told_apart() -> None:
    """The two closest colours are farther apart than those of the data sets, in the worst of four kinds of vision."""
    assert smallest_distance(safe_palette(11)) > 2.5 * smallest_distance(CAMVID_11.palette)
    assert smallest_distance(safe_palette(19)) > 4 * smallest_distance(CITYSCAPES_19.palette)
    assert smallest_distance(SAFE_COLOURS) > 0.05
    assert len(safe_palette(100)) == 100
    assert safe_palette(100)[40] == SAFE_COLOURS[0]


def test_a_page_of_two_hundred_frames_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the frames, which are beside it, a page with 200 frames is below 300 kB. It needs no network."""
    monkeypatch.setattr(player_module, "EMBEDDED_BYTES", 0)
    player = write_page(tmp_path, make_run(frames=200, cut=1))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(page.encode()) + (tmp_path / "files/numbers.js").stat().st_size < 300_000
    assert player.chunks[0] == "numbers.js"
    assert not re.findall(r"(?:src|href)=\"?https?:|@import|url\(", page)
