"""The app without a browser: the updates that callbacks yield on clips, the pictures of the page, and the endpoint for
scripts.
"""

import base64
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest

import app.__main__ as page_module
from app.__main__ import main
from app.callbacks import Callbacks
from app.curve import MAX_POINTS, FlickerCurve
from app.main import build
from app.render import curve_html, legend_html, note_html, panels_html, status_html, table_html
from app.settings import PageLimits
from app.storage import Storage
from app.style import CSS, theme
from app.updates import Update
from dwnet.cli.demo import PageOptions
from dwnet.comparison import MethodSummary, load_networks
from dwnet.video import VideoWriter
from tests.exported import CLASSES, PALETTE, textured_frame, write_clip
from tests.video.odd_structures import odd_clips

METHODS = ("baseline", "static_warp", "dwnet")
PAGE = SimpleNamespace(session_hash="page")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [textured_frame(index, shift_px=2) for index in range(6)]
    return write_clip(tmp_path_factory.mktemp("clips") / "street.mp4", frames)


@pytest.fixture
def callbacks(models: Path, tmp_path: Path) -> Callbacks:
    storage = Storage(max_mb=500, keep_hours=1, parent=tmp_path)
    return Callbacks(load_networks(models, threads=1), storage, PageLimits(waiting=2))


def compared(
    callbacks: Callbacks, clip: Path | None, page: SimpleNamespace = PAGE, **wanted: object
) -> Iterable[Update]:
    """Presses Compare on a page, with the defaults of the settings."""
    given = {
        "max_side": 128,
        "every": 1,
        "limit": 0,
        "opacity": 0.6,
        "flow": "dis",
        "worst": 3,
        "video": True,
        "refined_flow": False,
    } | wanted
    columns = given.pop("columns", ())
    return callbacks.run(None if clip is None else str(clip), *given.values(), page, *columns)


def result(callbacks: Callbacks, update: Update) -> Path:
    """Returns the folder of the result that an update shows."""
    name = re.search(r'data-run="([\w-]+)"', update.player["value"])
    assert name
    return callbacks.storage.runs / name[1]


def report_of(callbacks: Callbacks, update: Update) -> dict:
    """Returns the report of the result that an update shows."""
    (path,) = result(callbacks, update).glob("*_comparison.json")
    return json.loads(path.read_text())


def pictures(html: str) -> dict[str, np.ndarray]:
    """Returns the decoded pictures by panel, (H, W, 3) uint8 RGB."""
    found = {}
    for key, body in re.findall(r'data-panel="(\w+)"(.*?)</figure>', html, flags=re.DOTALL):
        if picture := re.search(r'src="data:image/jpeg;base64,([^"]+)"', body):
            content = np.frombuffer(base64.b64decode(picture[1]), np.uint8)
            found[key] = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return found


def collect(run: Iterable[Update], updates: list[Update]) -> None:
    """Appends the updates of a run to a list, which keeps them if the run ends in an error."""
    for update in run:
        updates.append(update)  # noqa: PERF402


def test_a_run_paints_the_page_and_ends_with_files(callbacks: Callbacks, clip: Path) -> None:
    updates = list(compared(callbacks, clip))
    last = updates[-1]
    report, folder = report_of(callbacks, last), result(callbacks, last)
    assert report["frames_compared"] == 6
    assert (folder / "street_comparison.mp4").stat().st_size > 0
    assert len((folder / "street_comparison.csv").read_text().splitlines()) == 1 + 6
    # The player takes the place of the live pictures.
    assert (last.live["visible"], last.player["visible"]) == (False, True)
    assert 'title="Player: comparison on street.mp4"' in last.player["value"]
    inside = unescape(last.player["value"])
    assert f'<base href="/runs/{folder.name}/">' in inside
    assert inside.count("data-dwnet-player") >= 1

    painted = [pictures(update.panels) for update in updates if isinstance(update.panels, str)]
    assert painted[0] == {}  # the panels of the chosen columns, before the first frame
    assert set(painted[1]) == {*METHODS, "input"}  # no flow at the first frame
    assert set(painted[-1]) == {*METHODS, "input", "coarse", "refined"}
    assert painted[-1]["input"].shape == (64, 128, 3)
    # The tiny DWNet predicts class 0 everywhere: its panel is 40 % of the input and 60 % of the colour of class 0.
    expected = 0.4 * painted[-1]["input"].mean((0, 1)) + 0.6 * np.array(PALETTE[0])
    np.testing.assert_allclose(painted[-1]["dwnet"].mean((0, 1)), expected, atol=3)

    assert "6 frames compared." in last.status
    assert "width:100.0%" in last.status
    assert last.curve.count("<polyline") == 3
    flips = report["methods"]["baseline"]["flips_percent"]
    assert f"{flips:.2f} %" in last.table
    assert "12.5 %" in last.table  # the mIoU in the metadata of the network files


def buttons(updates: Iterable[Update]) -> list[tuple[bool, bool]]:
    """Returns the states of Compare and Stop that the updates set, in order."""
    set_ = [update for update in updates if "interactive" in update.start]
    return [(update.start["interactive"], update.stop["interactive"]) for update in set_]


def test_a_press_swaps_the_buttons_and_stop_ends_the_run(callbacks: Callbacks, clip: Path) -> None:
    run = compared(callbacks, clip)
    first = next(run)
    assert "Opening street.mp4" in first.status
    assert buttons([first]) == [(False, True)]
    shown = 0
    while shown < 2:  # the empty panels, then a compared frame
        shown += isinstance(next(run).panels, str)
    assert callbacks.stop(PAGE) is None
    rest = list(run)
    texts = [update.status for update in rest if isinstance(update.status, str)]
    assert any("Stopping after this frame" in text for text in texts) or "Stopped" in texts[-1]
    assert "Stopped" in texts[-1]
    assert buttons(rest) == [(True, False)]
    assert len(callbacks.turns) == 0


def test_stop_while_waiting_for_another_visitor(callbacks: Callbacks, clip: Path) -> None:
    """The page says that it waits. Stop ends the waiting alone: the other visitor's page is not touched."""
    other = SimpleNamespace(session_hash="other")
    running = compared(callbacks, clip, other)
    for update in running:
        if isinstance(update.panels, str):
            break
    mine = compared(callbacks, clip)
    assert buttons([next(mine)]) == [(False, True)]
    assert "Waiting for another comparison" in next(mine).status
    assert next(mine).status == gr.skip()
    callbacks.stop(PAGE)
    rest = list(mine)
    assert "Stopped before it began" in rest[-1].status
    assert buttons(rest) == [(True, False)]
    # Nothing but status and buttons was set, so a result of an earlier comparison stays.
    assert all(update._replace(status=gr.skip(), start=gr.skip(), stop=gr.skip()) == Update() for update in rest)
    again = compared(callbacks, clip)
    next(again)
    end = list(running)[-1]
    assert "6 frames compared." in end.status
    assert "Stopped" not in end.status
    assert "6 frames compared." in list(again)[-1].status


def test_a_second_press_while_one_runs_changes_nothing(callbacks: Callbacks, clip: Path) -> None:
    run = compared(callbacks, clip)
    next(run)
    for _ in range(50):
        assert list(compared(callbacks, clip)) == [Update()]
    assert "6 frames compared." in list(run)[-1].status
    assert len(callbacks.turns) == 0


def test_too_many_waiting_comparisons_are_one_message(callbacks: Callbacks, clip: Path) -> None:
    """One runs and two wait, which is the limit here."""
    runs = [compared(callbacks, clip, SimpleNamespace(session_hash=f"page {number}")) for number in range(4)]
    for run in runs[:3]:
        next(run)
        next(run)
    updates: list[Update] = []
    with pytest.raises(gr.Error, match="2 comparisons are waiting already; allowed are 2"):
        collect(runs[3], updates)
    assert buttons(updates)[-1] == (True, False)
    for run in runs[:3]:
        run.close()
    assert len(callbacks.turns) == 0


def test_the_end_of_the_server_ends_comparisons_without_results(callbacks: Callbacks, clip: Path) -> None:
    running, waiting = compared(callbacks, clip), compared(callbacks, clip, SimpleNamespace(session_hash="other"))
    for run in (running, waiting):
        next(run)
        next(run)
    callbacks.turns.close()
    assert buttons(running) == [(True, False)]
    assert buttons(waiting) == [(True, False)]
    assert callbacks.turns.wait_until_idle(0)
    assert list(callbacks.storage.runs.iterdir()) == []
    with pytest.raises(gr.Error, match="the server is being stopped"):
        list(compared(callbacks, clip))


def test_emptied_fields_are_every_frame(callbacks: Callbacks, clip: Path) -> None:
    assert "6 frames compared." in list(compared(callbacks, clip, every=None, limit=None, worst=None))[-1].status
    *_, (report, _) = callbacks.compare_clip(str(clip), 128, None, None, 0.6)
    assert report["frames_compared"] == 6


def test_a_slow_line_gets_the_end_but_no_more_pictures(callbacks: Callbacks, clip: Path) -> None:
    def painted() -> int:
        return sum(isinstance(update.panels, str) for update in compared(callbacks, clip))

    assert painted() > 2
    callbacks.unsent = lambda page: 3 if page == PAGE.session_hash else 0
    assert painted() == 2  # the empty panels at the start, and the last frame


def test_a_script_that_has_gone_stops_its_comparison(
    callbacks: Callbacks, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio closes the generator at a yield. The next comparison must not wait for the whole clip."""
    monkeypatch.setattr("app.callbacks.SCRIPT_CHECKS_PER_SECOND", 1e9)
    script = callbacks.compare_clip(str(clip), 128, 1, 0, 0.6)
    next(script)
    assert len(callbacks.turns) == 1
    script.close()
    assert len(callbacks.turns) == 0
    assert list(callbacks.storage.runs.iterdir()) == []


def test_stop_of_one_page_does_not_stop_another(callbacks: Callbacks, clip: Path) -> None:
    other = SimpleNamespace(session_hash="other")
    run = compared(callbacks, clip)
    updates = [next(run), next(run)]
    callbacks.stop(other)
    callbacks.leave(other)
    callbacks.leave(SimpleNamespace(session_hash="never pressed"))
    updates += list(run)
    assert "6 frames compared." in updates[-1].status
    assert "Stopped" not in updates[-1].status


def test_a_closed_page_leaves_nothing(callbacks: Callbacks, clip: Path) -> None:
    run = compared(callbacks, clip)
    next(run)
    next(run)
    assert list(callbacks.storage.runs.iterdir())
    run.close()
    assert list(callbacks.storage.runs.iterdir()) == []
    assert len(callbacks.turns) == 0


def test_what_goes_wrong_is_one_clear_message(callbacks: Callbacks, tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match="Choose a clip first"):
        list(compared(callbacks, None))
    text = tmp_path / "notes.mp4"
    text.write_text("not a video\n" * 100)
    single = write_clip(tmp_path / "single.mp4", [textured_frame()])
    for wrong, message in ((text, r"^notes\.mp4: "), (single, r"^single\.mp4 has 1 frame.*flicker needs two")):
        updates: list[Update] = []
        with pytest.raises(gr.Error) as caught:
            collect(compared(callbacks, wrong), updates)
        last = updates[-1]
        assert (last.start["interactive"], last.stop["interactive"]) == (True, False)
        assert re.search(message, caught.value.message)
        assert str(tmp_path) not in caught.value.message  # the server's upload folder is not shown
        assert list(callbacks.storage.runs.iterdir()) == []


def test_a_damaged_clip_says_what_is_missing(callbacks: Callbacks, tmp_path: Path) -> None:
    """The readable frames are compared. Page and report say that the rest was left out, without the server's path."""
    damaged = tmp_path / "damaged.mp4"
    noise = np.random.default_rng(0)
    with VideoWriter(damaged, fps=10, size=(128, 64)) as writer:
        for _ in range(60):
            writer.write(noise.integers(0, 256, (64, 128, 3), dtype=np.uint8))
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    last = list(compared(callbacks, damaged))[-1]
    report = report_of(callbacks, last)
    assert 2 <= report["frames_compared"] < 60
    assert report["clip"]["warning"].startswith("damaged.mp4: damaged after")
    assert "damaged.mp4: damaged after" in last.status
    assert str(tmp_path) not in last.status


def test_choosing_a_clip_warns_of_a_missing_start_and_refuses_huge_frames(callbacks: Callbacks, tmp_path: Path) -> None:
    cases = {case.name: case for case in odd_clips()}
    notes = {}
    for name in ("no_first_key_frame.mp4", "huge.gif"):
        cases[name].write(tmp_path / name)
        notes[name], *_ = callbacks.describe(str(tmp_path / name))
        assert "dw-bad" in notes[name]
        assert str(tmp_path) not in notes[name]
    assert "3 frames at the start are left out" in notes["no_first_key_frame.mp4"]
    assert "huge.gif: frames are 16000x16000 pixels, 256 million; allowed are 40 million" in notes["huge.gif"]


def test_choosing_a_clip_describes_it(callbacks: Callbacks, clip: Path, tmp_path: Path) -> None:
    note, _, panels, *_ = callbacks.describe(str(clip))
    assert "street.mp4: 128×64 px, 6 frames, 10 fps" in note
    assert set(pictures(panels)) == {"input"}
    note, _, panels, *_ = callbacks.describe(None)
    assert "Choose a clip" in note
    assert pictures(panels) == {}
    empty = tmp_path / "empty.mp4"
    empty.touch()
    note, _, panels, *_ = callbacks.describe(str(empty))
    assert "dw-bad" in note
    assert "empty.mp4" in note
    assert str(tmp_path) not in note
    assert "folder" not in note  # a page does not accept folders
    assert callbacks.take(str(clip))[:2] == (str(clip), None)  # the field is empty for the next clip
    assert callbacks.take(None) == (gr.skip(),) * 3


def test_another_clip_clears_what_the_last_one_left_unless_a_comparison_runs(callbacks: Callbacks, clip: Path) -> None:
    _, status, panels, curve, table, live, player = callbacks.describe(str(clip), PAGE)
    assert "Ready. Press Compare." in status
    assert curve == curve_html(FlickerCurve(callbacks.networks.segmenters))
    assert "ms" not in re.sub(r"<[^>]+>", " ", table).split()
    assert live == gr.update(visible=True)
    assert player == gr.update(value="", visible=False)
    assert set(pictures(panels)) == {"input"}
    assert "No clip chosen." in callbacks.describe(None, PAGE)[1]
    run = compared(callbacks, clip)
    next(run)
    assert callbacks.describe(str(clip), PAGE)[1:] == (gr.skip(),) * 6
    run.close()
    assert "Ready. Press Compare." in callbacks.describe(str(clip), PAGE)[1]


def test_curve_averages_neighbours_instead_of_growing() -> None:
    curve = FlickerCurve(["baseline"])
    count = 5 * MAX_POINTS
    for index in range(count):
        curve.add(index / 25, {"baseline": float(index)})
    points = curve.flips_percent["baseline"]
    assert len(points) == len(curve.seconds) < MAX_POINTS
    assert curve.frames_per_point == 8
    # Each point is the mean of eight frames, at the time of the first of them.
    np.testing.assert_allclose(points, np.arange(count)[: 8 * len(points)].reshape(-1, 8).mean(1))
    np.testing.assert_allclose(curve.seconds, np.arange(len(points)) * 8 / 25)


def test_curve_points_lie_where_the_axis_says() -> None:
    curve = FlickerCurve(METHODS)
    assert "NaN" not in curve.svg()
    for seconds, flips in ((0.0, 0.0), (1.0, 10.0), (2.0, 5.0)):
        curve.add(seconds, {"baseline": flips, "static_warp": 0.0, "dwnet": 1.0})
    svg = curve.svg()
    levels = dict(re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+) %', svg))
    levels = {float(percent): float(y) - 4 for y, percent in levels.items()}
    assert set(levels) == {0.0, 5.0, 10.0}
    points = re.search(r'data-method="baseline" points="([^"]+)"', svg)
    assert points
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points[1].split())
    assert (y0, y1, y2) == pytest.approx((levels[0.0], levels[10.0], levels[5.0]), abs=0.1)
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert "0.0 s" in svg
    assert "2.0 s" in svg


def summary(
    flips: float | None,
    latency_ms: float,
    flow_ms: float,
    classes: tuple,
    mean_ms: float | None = None,
    ratios: tuple[float, float, float] = (0.99, 1.0, 1.01),
) -> MethodSummary:
    return MethodSummary(
        flips_percent=flips,
        class_flips_percent=classes,
        temporal_consistency_percent=None,
        class_share_percent=(60.0, 39.95, 0.05),
        latency_ms_median=latency_ms,
        latency_ms_quartiles=(0.9 * latency_ms, 1.1 * latency_ms),
        latency_ms_mean=latency_ms if mean_ms is None else mean_ms,
        latency_ratio_median=ratios[1],
        latency_ratio_quartiles=(ratios[0], ratios[2]),
        flow_ms_median=flow_ms,
        flow_ms_mean=flow_ms,
    )


def table_rows(table: str) -> list[list[str]]:
    return [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr.*?</tr>", table)]


def test_table_states_differences_from_the_baseline() -> None:
    found = {
        "baseline": summary(4.0, 50.0, 0.0, (1.0, None, 8.0)),
        "static_warp": summary(3.0, 52.0, 20.0, (2.0, None, 4.0), ratios=(1.02, 1.04, 1.1)),
        "dwnet": summary(None, 75.0, 0.0, (1.0, 1.0, 8.0), ratios=(0.9, 1.2, 1.5)),
    }
    html = table_html(CLASSES, METHODS, found)
    rows = table_rows(html)
    assert rows[1] == ["Flips", "per", "frame", "4.00", "%", "3.00", "%", "-25", "%", "–"]
    # The static warp is slower in each frame, although the quartiles of the times overlap. The ratios of dwnet are on
    # both sides of 1.
    times = ["50.0", "ms", "45–55", "52.0", "ms", "47–57", "+4", "%", "75.0", "ms", "68–82", "same"]
    assert rows[2] == ["Time", "per", "frame", *times]
    assert rows[3] == ["Flow,", "where", "needed", "–", "20.0", "ms", "–"]
    assert rows[5] == ["Red", "60.0", "%", "1.00", "%", "2.00", "%", "+100", "%", "1.00", "%", "+0", "%"]
    assert rows[6][-4:] == ["–", "–", "1.00", "%"]
    assert rows[7][-6:] == ["8.00", "%", "4.00", "%", "8.00", "%"]  # a class with one pixel in 2000 shows no difference
    assert "mIoU" not in html
    assert "on average" not in html


def test_a_key_frame_network_is_shown_with_its_mean_time() -> None:
    """The median does not show the cost of key frames: 4 of 5 frames take 10 ms, one takes 60 ms."""
    classes = (1.0, None, 8.0)
    found = {
        "baseline": summary(4.0, 50.0, 0.0, classes),
        "keyframe": summary(3.0, 10.0, 8.0, classes, mean_ms=20.0, ratios=(0.19, 0.2, 0.21)),
    }
    html = table_html(CLASSES, tuple(found), found)
    assert "Key frames" in html
    rows = table_rows(html)
    assert rows[2] == ["Time", "per", "frame", "50.0", "ms", "45–55", "10.0", "ms", "9–11", "-80", "%"]
    assert rows[3] == ["on", "average", "50.0", "ms", "20.0", "ms", "-60", "%"]
    assert 'data-panel="keyframe"' in panels_html(tuple(found))


def test_text_from_files_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    for html in (
        note_html(evil),
        status_html(evil, evil),
        legend_html([evil], [(1, 2, 3)]),
        table_html([evil], [evil]),
        panels_html([evil]),
        curve_html(FlickerCurve([evil])),
    ):
        assert "<script" not in html


def test_legend_shows_every_class_in_its_colour() -> None:
    html = legend_html(CLASSES, PALETTE)
    for name, colour in zip(CLASSES, PALETTE, strict=True):
        assert f'<i style="background:rgb{colour}"></i>{name}</span>' in html


def test_the_page_names_no_other_host() -> None:
    assert "http" not in CSS
    assert "@import" not in CSS
    assert theme()._stylesheets == []


def test_the_endpoint_for_scripts(
    callbacks: Callbacks, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server and Gradio's client: the report and three files are returned; a wrong clip gives one message."""
    monkeypatch.setattr("app.callbacks.SCRIPT_CHECKS_PER_SECOND", 1e9)
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    page = build(callbacks, [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)
    try:
        client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
        settings = {"max_side": 160, "every": 1, "limit": 3, "opacity": 0.5, "api_name": "/compare_clip"}
        report, files = client.predict(clip=handle_file(str(clip)), **settings)
        assert report["frames_compared"] == 3
        assert [Path(file).suffix for file in files] == [".mp4", ".csv", ".json"]
        assert json.loads(Path(files[2]).read_text()) == report
        text = tmp_path / "notes.mp4"
        text.write_text("not a video\n" * 100)
        with pytest.raises(AppError, match=r"^notes\.mp4: "):
            client.predict(clip=handle_file(str(text)), **settings)
    finally:
        page.close()
    assert list(callbacks.storage.runs.iterdir()) == []


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served: list[PageOptions] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "serve", served.append)
        main([])
        main(["--port", "7870", "--no-browser", "--models", str(tmp_path)])
    assert served == [PageOptions(), PageOptions(port=7870, browser=False, models=tmp_path)]
    assert PageOptions() == PageOptions(
        host=None,
        port=None,
        root_path=None,
        browser=True,
        models=None,
        clip=None,
        max_mb=500,
        max_minutes=60,
        max_waiting=10,
        max_disk_mb=10_000,
        keep_hours=6,
        upload_models="auto",
        threads=None,
    )
    with pytest.raises(SystemExit, match=r"python -m app: no \.onnx file in"):
        main(["--models", str(tmp_path), "--no-browser"])
    with pytest.raises(SystemExit, match=r"python -m app: --clip nowhere.mp4: there is no such file"):
        main(["--clip", "nowhere.mp4", "--no-browser"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"python -m app: cannot listen on 127.0.0.1, port {port}: "):
            main(["--port", str(port), "--no-browser"])
    with pytest.raises(SystemExit):
        main(["--port", "eighty"])
    assert "invalid literal for int() with base 10: 'eighty'" in " ".join(capsys.readouterr().err.split())


def test_the_page_needs_no_pytorch():
    """Exported networks run without PyTorch. Without its import, start time and memory are halved."""
    code = "import sys; sys.modules['torch'] = None; import app.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, timeout=240)
