"""`python -m app` as a process, with its page operated in headless Chromium.

The tests use the bundled networks and clip. They are skipped without Chromium. With DWNET_REQUIRE_BROWSER=1, a missing
browser, network or clip is a failure. DWNET_CHROMIUM names the browser if it is not `chromium` on the path.
"""

import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwnet.core.bundled import assets_folder
from dwnet.core.launch import available_cpus
from tests.exported import textured_frame, write_clip, write_models

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

REQUIRED = os.environ.get("DWNET_REQUIRE_BROWSER") == "1"
METHODS = ("baseline", "static_warp", "dwnet")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 180
STEP_MS = 60_000


def found_or_skip(thing: object, message: str) -> None:
    if thing:
        return
    if REQUIRED:
        pytest.fail(f"DWNET_REQUIRE_BROWSER=1, but {message}")
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    path = os.environ.get("DWNET_CHROMIUM") or shutil.which("chromium")
    found_or_skip(path, "there is no Chromium (set DWNET_CHROMIUM)")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server. It uses tiny networks or a tiny clip where bundled ones are missing."""
    folder = tmp_path_factory.mktemp("server")
    arguments = []
    bundled = [assets_folder() / "models" / f"{name}.onnx" for name in (*METHODS, "flow_refinement")]
    if not all(path.is_file() for path in bundled):
        if REQUIRED:
            pytest.fail(f"DWNET_REQUIRE_BROWSER=1, but not all of {', '.join(map(str, bundled))} exist")
        arguments += ["--models", str(write_models(folder / "models"))]
    if not (assets_folder() / "street_sample.mp4").is_file():
        if REQUIRED:
            pytest.fail(f"DWNET_REQUIRE_BROWSER=1, but there is no bundled clip in {assets_folder()}")
        frames = [textured_frame(index, (180, 320), shift_px=2) for index in range(100)]
        arguments += ["--clip", str(write_clip(folder / "sample.mp4", frames))]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "server.log").open("w+")
    server = subprocess.Popen(
        [sys.executable, "-m", "app", "--no-browser", "--port", str(port), *arguments],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"GRADIO_TEMP_DIR": str(folder / "cache"), "TMPDIR": str(folder)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    pytest.fail(f"the server did not start (exit code {server.poll()}):\n{log.read()}")
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()
    assert list(folder.glob("dwnet-*")) == []  # the workspace is cleared


@pytest.fixture
def page(browser, url: str) -> Iterator[object]:
    """The open page at 1280x800. The page must request only its own server and must not raise errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(STEP_MS)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#compare:not([disabled])")
    yield page
    foreign = [request for request in requests if not request.startswith((url, "data:", "blob:"))]
    assert foreign == []
    assert errors == []
    context.close()


def picture(page, panel: str) -> str:
    """Returns the source of a panel's picture, or an empty string if there is none."""
    return page.evaluate("panel => document.querySelector(`[data-panel=${panel}] .dw-picture img`)?.src ?? ''", panel)


def table_row(page, label: str) -> list[str]:
    """Returns the cells of the table row with this first cell."""
    rows = page.evaluate("[...document.querySelectorAll('.dw-table tr')].map(r => [...r.cells].map(c => c.innerText))")
    return next(cells[1:] for cells in rows if cells[0] == label)


def upload(page, path: Path, note: str) -> None:
    """Chooses another clip and waits until the page's note about it contains `note`."""
    page.click("#clip button[aria-label=Clear]")
    page.set_input_files("#clip input[type=file]", str(path))
    page.wait_for_function("note => document.querySelector('#clip-note').innerText.includes(note)", arg=note)


def test_sample_runs_live_and_stops(page) -> None:
    """The sample clip runs without a choice by the user. Pictures, curve and table are updated, and Stop keeps them."""
    assert picture(page, "input").startswith("data:image/jpeg")  # the clip's first frame, before anything is pressed
    page.click("#compare")
    pressed = time.monotonic()
    page.wait_for_selector("[data-panel=dwnet] img")
    waited = time.monotonic() - pressed
    # The limit of 10 s holds for a machine that is not busy.
    assert waited < 10 or os.getloadavg()[0] > 2 * available_cpus()
    assert page.is_disabled("#compare")
    seen: dict[str, set[str]] = {panel: set() for panel in (*METHODS, "input", "coarse", "refined")}
    deadline = time.monotonic() + STEP_MS / 1000
    while time.monotonic() < deadline and min(map(len, seen.values())) < 3:
        for panel, sources in seen.items():
            if source := picture(page, panel):
                sources.add(source)
        time.sleep(0.1)
    assert {panel: len(sources) for panel, sources in seen.items() if len(sources) < 3} == {}
    page.wait_for_function(
        "[...document.querySelectorAll('#curve polyline')].filter(l => l.points.numberOfItems >= 3).length === 3"
    )
    progress = page.inner_text("#status")
    assert re.search(r"\d+ of \d+ frames", progress)
    assert re.search(r"[\d.]+ frames/s · .*left", progress)

    page.click("#stop")
    page.wait_for_selector("#results #get-json")
    assert re.search(r"Stopped\. \d+ frames compared\.", page.inner_text("#status"))
    for cell in table_row(page, "Flips per frame"):
        assert re.match(r"\d+\.\d\d %", cell)
    baseline_ms, warp_ms, _ = (float(cell.split()[0]) for cell in table_row(page, "Time per frame"))
    flow_ms = table_row(page, "Flow, where needed")
    assert (flow_ms[0], flow_ms[2]) == ("–", "–")
    assert 0 < float(flow_ms[1].split()[0]) < warp_ms
    assert baseline_ms > 0
    page.wait_for_selector("#compare:not([disabled])")
    assert page.is_disabled("#stop")


def test_uploaded_clip_to_the_end(page, tmp_path: Path) -> None:
    """The video plays in the browser, and the downloaded files have the expected content."""
    clip = write_clip(tmp_path / "mine.mp4", [textured_frame(index, (96, 160), shift_px=1) for index in range(12)])
    upload(page, clip, "160×96 px, 12 frames")
    page.click("#compare")
    page.wait_for_function("document.querySelector('#status').innerText.includes('12 frames compared.')")
    page.wait_for_function("document.querySelector('#video video')?.readyState >= 2")
    played = page.evaluate(
        """async () => {
            const video = document.querySelector('#video video');
            video.muted = true;
            await video.play();
            const start = video.currentTime;
            const end = Date.now() + 10000;
            while (video.currentTime < start + 0.3 && Date.now() < end) await new Promise(r => setTimeout(r, 50));
            return [video.currentTime - start, video.duration, video.videoWidth, video.videoHeight];
        }"""
    )
    assert played[0] >= 0.3
    assert played[1] == pytest.approx(1.2, abs=0.15)
    assert played[2] >= 320
    assert played[3] >= 192

    def download(button: str) -> Path:
        with page.expect_download() as waiting:
            page.click(button)
        target = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(target)
        return target

    report = json.loads(download("#get-json").read_text())
    assert report["frames_compared"] == 12
    assert set(METHODS) <= set(report["methods"])
    with download("#get-csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(12))
    video = download("#get-mp4")
    assert video.name == "mine_comparison.mp4"
    assert video.read_bytes()[4:8] == b"ftyp"


def test_a_text_file_named_mp4_is_one_clear_message(page, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("Dear diary, this is not a video.\n" * 100)
    upload(page, text, "notes.mp4")
    assert re.search(r"notes\.mp4: .*(not|no) .*video", page.inner_text("#clip-note"))
    page.click("#compare")
    page.wait_for_selector(".toast-body")
    toast = page.inner_text(".toast-body")
    assert re.search(r"notes\.mp4: .*(not|no) .*video", toast)
    assert "Traceback" not in toast
    page.wait_for_selector("#compare:not([disabled])")
    assert page.is_disabled("#stop")


def test_fits_the_desktop_and_a_phone(page) -> None:
    """At 1280x800 the six pictures are in two rows of three, without scrolling. On a phone they are in one column."""

    def boxes() -> list[dict[str, float]]:
        return page.evaluate(
            "[...document.querySelectorAll('.dw-picture')].map(p => p.getBoundingClientRect().toJSON())"
        )

    desktop = boxes()
    assert len(desktop) == 6
    assert len({round(box["top"]) for box in desktop}) == 2
    assert max(box["bottom"] for box in desktop) <= 800
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    phone = boxes()
    assert len({round(box["left"]) for box in phone}) == 1
    assert all(box["width"] > 300 and box["right"] <= 390 for box in phone)
