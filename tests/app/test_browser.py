"""`python -m app` as a process, with its page operated in headless Chromium.

The tests use the bundled networks and clip. They are skipped without Chromium. With DWNET_REQUIRE_BROWSER=1, a missing
browser, network or clip is a failure. DWNET_CHROMIUM names the browser if it is not `chromium` on the path.
"""

import base64
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
import zipfile
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


def wait_for_text(page, element: str, text: str) -> None:
    """Waits until an element contains a text."""
    page.wait_for_function("([one, text]) => document.querySelector(one).innerText.includes(text)", arg=[element, text])


def upload(page, path: Path, note: str) -> None:
    """Chooses another clip and waits until the page's note about it contains `note`."""
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

    # The table is painted three times a second.
    page.wait_for_function("/Flips per frame\\s+[\\d.]+ %/.test(document.querySelector('.dw-table').innerText)")
    for cell in table_row(page, "Flips per frame"):
        assert re.match(r"\d+\.\d\d %", cell)
    baseline_ms, warp_ms, _ = (float(cell.split()[0]) for cell in table_row(page, "Time per frame"))
    flow_ms = table_row(page, "Flow, where needed")
    assert (flow_ms[0], flow_ms[2]) == ("–", "–")
    assert 0 < float(flow_ms[1].split()[0]) < warp_ms
    assert baseline_ms > 0

    page.click("#stop")
    page.wait_for_selector("#player iframe")
    assert re.search(r"Stopped\. \d+ frames compared\.", page.inner_text("#status"))
    assert not page.is_visible("#live")  # the player is in the place of the live pictures
    page.wait_for_selector("#compare:not([disabled])")
    assert page.is_disabled("#stop")


def test_uploaded_clip_to_the_end(page, tmp_path: Path) -> None:
    """The player steps frame by frame, and the downloaded files have the expected content."""
    clip = write_clip(tmp_path / "mine.mp4", [textured_frame(index, (96, 160), shift_px=1) for index in range(12)])
    upload(page, clip, "160×96 px, 12 frames")
    page.click("#compare")
    page.wait_for_function("document.querySelector('#status').innerText.includes('12 frames compared.')")
    player = page.frame_locator("#player iframe")
    player.locator(".dwp-main").wait_for()
    number = player.locator(".dwp-transport input[type=number]").first
    assert number.input_value() == "0"
    for frame in ("1", "2"):
        player.locator(".dwp-play").press("ArrowRight")
        playwright.expect(number).to_have_value(frame, timeout=STEP_MS)
    page.wait_for_function("location.hash.includes('frame=2')")
    assert re.search(r"\?run=[\w-]+#frame=2&view=grid$", page.url)

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
    with zipfile.ZipFile(download("#get-report")) as archive:
        archive.extractall(tmp_path / "report")

    # The report opens from disk, and the link opens the same frame in another browser.
    disk = page.context.new_page()
    disk.goto((tmp_path / "report" / "mine_comparison.html").as_uri())
    disk.wait_for_selector(".dwp-main")
    other = page.context.browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    other.goto(page.url)
    linked = other.frame_locator("#player iframe")
    linked.locator(".dwp-main").wait_for()
    playwright.expect(linked.locator(".dwp-transport input[type=number]").first).to_have_value("2", timeout=STEP_MS)
    other.wait_for_function("document.documentElement.scrollWidth <= 390")
    other.close()

    # Another clip is one step away, and clears the result.
    page.click("#example-0")
    page.wait_for_selector("#live", state="visible")
    page.wait_for_function("!location.search.includes('run=')")
    assert page.query_selector("#player iframe") is None


def test_two_visitors_and_random_buttons(page, browser, url: str) -> None:
    """B presses Compare and Stop while the comparison of A runs. Nothing of either page is lost."""
    page.click("#compare")
    page.wait_for_selector("[data-panel=dwnet] img")
    other = browser.new_page(viewport={"width": 1280, "height": 800})
    other.set_default_timeout(STEP_MS)
    other.goto(url)
    other.wait_for_selector("#compare:not([disabled])")
    for _ in range(3):
        other.click("#compare")
        other.wait_for_function(
            "document.querySelector('#status').innerText.includes('Waiting for another comparison')"
        )
        other.click("#stop")
        wait_for_text(other, "#status", "Stopped before it began.")
        other.wait_for_selector("#compare:not([disabled])")
    page.click("#stop")
    page.wait_for_selector("#player iframe")
    for one in (page, other):
        assert (one.inner_text("#compare"), one.inner_text("#stop")) == ("Compare", "Stop")
        assert one.is_enabled("#compare")
        assert one.is_disabled("#stop")
    assert picture(other, "input").startswith("data:image/jpeg")
    assert table_row(other, "Flips per frame")
    assert other.query_selector("#player iframe") is None
    other.close()


def test_a_clip_is_dropped_anywhere(page, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "dropped.mp4", [textured_frame(index, (96, 160), shift_px=1) for index in range(4)])
    content = base64.b64encode(clip.read_bytes()).decode()
    page.evaluate(
        """content => {
            const bytes = Uint8Array.from(atob(content), one => one.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.mp4", { type: "video/mp4" }));
            const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector("#limits").dispatchEvent(event);
        }""",
        content,
    )
    page.wait_for_function(
        "document.querySelector('#clip-note').innerText.includes('dropped.mp4: 160×96 px, 4 frames')"
    )
    assert page.query_selector("#clip-note .dw-bad") is None


def test_a_text_file_named_mp4_is_one_clear_message(page, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("Dear diary, this is not a video.\n" * 100)
    upload(page, text, "notes.mp4")
    page.wait_for_selector("#clip-note .dw-bad")
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
