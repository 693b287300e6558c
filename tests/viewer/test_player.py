"""The player in headless Chromium, opened from disk: exact pixels, views, clock, curve, table, downloads, links."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dwnet.flicker import measure_flicker
from dwnet.viewer import counts as counts_module
from dwnet.viewer import player as player_module
from dwnet.viewer import player_frame
from tests.flicker.short_clip import write_clip, write_labels
from tests.viewer.runs import CLASSES, FIRST, FRAMES, HEIGHT, METHODS, PALETTE, WIDTH, Run, make_run, write_page

pytestmark = pytest.mark.browser

WHITE = (255, 255, 255)
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def run() -> Run:
    return make_run()


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run with chunks beside it."""
    folder = tmp_path_factory.mktemp("player")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player_module, "EMBEDDED_BYTES", 0)
        patch.setattr(player_module, "CHUNK_BYTES", 20_000)
        player = write_page(folder, run)
    assert len(player.chunks) > 3
    return folder


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Open]:
    """Opens a page from disk. It must request only files of its folder and raise no errors."""
    contexts, requests, errors = [], [], []

    def open_page(page_folder: Path = folder, fragment: str = "", width: int = 1280, scheme: Any = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"file://{page_folder}/index.html{fragment}")
        page.wait_for_selector("[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [request for request in requests if not request.startswith(("file://", "data:", "blob:"))] == []
    assert errors == []


def pixels(page: Any, tile: int = 0) -> np.ndarray:
    """Returns the RGB pixels of a picture of the stage."""
    values = page.evaluate(
        """tile => {
            const canvas = document.querySelectorAll('.dwp-stage canvas')[tile];
            return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
        }""",
        tile,
    )
    return np.array(values, np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3]


def show(page: Any, frame: int) -> None:
    """Types a frame number and waits until the frame is painted."""
    page.fill(".dwp-transport input[type=number]", str(FIRST + frame))
    page.press(".dwp-transport input[type=number]", "Enter")
    at(page, frame)


def at(page: Any, frame: int) -> None:
    page.wait_for_selector(f'[data-frame="{FIRST + frame}"]')


def opacity(page: Any, percent: int) -> None:
    page.locator(".dwp-bar input[type=range]").fill(str(percent))


def view(page: Any, name: str) -> None:
    page.locator(".dwp-choice label", has_text=re.compile(f"^{name}$")).click()


def coloured(labels: np.ndarray) -> np.ndarray:
    return np.array([*PALETTE, *[WHITE] * 253], np.uint8)[labels]


def test_labels_are_painted_exactly(opened: Open, run: Run) -> None:
    """At full opacity every pixel has the colour of its class, in every frame and for every method."""
    page = opened()
    opacity(page, 100)
    for frame in (0, 4, 5, FRAMES - 1):
        show(page, frame)
        for tile, method in enumerate(METHODS, start=1):
            labels = run.labels[frame][method]
            known = labels != 255
            np.testing.assert_array_equal(pixels(page, tile)[known], coloured(labels)[known])


def test_classes_can_be_hidden_and_have_other_colours(opened: Open, run: Run) -> None:
    page = opened()
    opacity(page, 100)
    show(page, 4)
    labels, image = run.labels[4]["calm"], pixels(page, 0)
    page.locator(".dwp-classes label", has_text="sky").click()
    found = pixels(page, 1)
    hidden = (labels == 2) | (labels == 255)
    np.testing.assert_array_equal(found[hidden], image[hidden])
    np.testing.assert_array_equal(found[~hidden], coloured(labels)[~hidden])
    page.get_by_role("button", name="Hide all classes").click()
    np.testing.assert_array_equal(pixels(page, 1), image)
    page.get_by_role("button", name="Show all classes").click()
    page.get_by_label("Colours", exact=True).select_option("safe")
    safe = np.array([(0, 114, 178), (230, 159, 0), (0, 158, 115)], np.uint8)
    np.testing.assert_array_equal(pixels(page, 1)[labels != 255], safe[labels[labels != 255]])


def test_wipe_shows_two_methods_with_a_divider(opened: Open, run: Run) -> None:
    page = opened()
    opacity(page, 100)
    show(page, 4)
    view(page, "Wipe")
    page.get_by_label("Left", exact=True).select_option(label="wild <i>")
    page.get_by_label("Right", exact=True).select_option(label="calm")

    def divided(column: int) -> np.ndarray:
        left, right = (coloured(run.labels[4][method]) for method in ("wild <i>", "calm"))
        return np.concatenate([left[:, :column], right[:, column:]], axis=1)

    known = run.labels[4]["calm"] != 255
    np.testing.assert_array_equal(pixels(page)[known], divided(32)[known])
    divider = page.get_by_role("slider", name="Divider between wild <i> and calm")
    divider.focus()
    page.keyboard.press("Home")
    np.testing.assert_array_equal(pixels(page)[known], divided(0)[known])
    page.keyboard.press("PageUp")
    assert divider.get_attribute("aria-valuenow") == "10"
    box = page.locator(".dwp-wipe").bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    np.testing.assert_array_equal(pixels(page)[known], divided(48)[known])
    assert page.get_attribute(".dwp", "data-frame") == str(FIRST + 4)  # the keys moved the divider only


def test_flips_and_flows_are_shown(opened: Open, run: Run) -> None:
    page = opened()
    show(page, 4)
    view(page, "Flips")
    found = pixels(page, 1)
    flipped = run.frames[4].methods["wild <i>"].flips == 1
    assert (found[flipped] == (255, 40, 90)).all()
    assert not (found[~flipped] == (255, 40, 90)).all(axis=1).any()
    view(page, "Flow")
    assert page.locator(".dwp-stage figure b").all_inner_texts() == [
        "Coarse flow", "Refined flow", "Refined minus coarse", "Occlusion weight",
    ]  # fmt: skip
    # One pixel to the left: the colour of the wheel at 180 degrees, between cyan and blue; full colour is 1 px.
    coarse = pixels(page, 0)
    assert (np.abs(coarse.astype(int) - (0, 209, 255)) <= 3).all()
    assert (np.abs(pixels(page, 3).astype(int) - 128) <= 2).all()
    assert "full colour: 1.0 px" in page.inner_text(".dwp-flow")
    show(page, 6)  # a new scene has no flow
    assert not (pixels(page, 0) == coarse).all()


def test_keys_move_frames_and_peaks(opened: Open, run: Run) -> None:
    page = opened()
    for key, frame in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", FRAMES - 1),
        ("Home", 0),
        ("Shift+ArrowRight", 10),
    ):
        page.keyboard.press(key)
        at(page, frame)
    highest = [max(run.flips_percent(method, i) or 0 for method in METHODS) for i in range(FRAMES)]
    taken: list[int] = []
    for i in sorted(range(FRAMES), key=lambda i: (-highest[i], i)):
        if highest[i] and len(taken) < 3 and all(abs(i - other) >= 2 for other in taken):
            taken.append(i)
    assert taken[0] in (4, 5)
    page.keyboard.press("Home")
    at(page, 0)
    for frame in sorted(taken):
        page.keyboard.press("]")
        at(page, frame)
    page.keyboard.press("[")
    at(page, sorted(taken)[-2])
    worst = page.locator(".dwp-moments button")
    assert worst.count() == 3
    assert f"frame {FIRST + taken[0]}" in worst.first.inner_text()
    worst.first.click()
    at(page, taken[0])


def test_play_loops_with_one_clock(opened: Open) -> None:
    page = opened()
    page.get_by_label("Speed", exact=True).select_option("4")
    page.keyboard.press("Space") if page.evaluate("document.activeElement.tagName") == "BODY" else page.click(
        ".dwp-play"
    )
    seen = page.evaluate(
        """async () => {
            const root = document.querySelector('.dwp'), seen = [root.dataset.frame];
            const end = Date.now() + 8000;
            while (Date.now() < end && seen.filter(one => one === '100').length < 2) {
                await new Promise(requestAnimationFrame);
                if (root.dataset.frame !== seen.at(-1)) seen.push(root.dataset.frame);
            }
            return seen.map(Number);
        }"""
    )
    wraps = [i for i in range(1, len(seen)) if seen[i] < seen[i - 1]]
    assert wraps
    assert {seen[i] for i in wraps} == {FIRST}  # it loops, and never steps back otherwise
    page.click(".dwp-play")
    assert page.get_by_role("button", name="Play (space)").is_visible()


def test_the_curve_is_linked_both_ways(opened: Open) -> None:
    page = opened()
    over = page.locator(".dwp-curve .u-over")
    box = over.bounding_box()

    def x(frame: float) -> float:
        return box["x"] + box["width"] * frame / (FRAMES - 1)

    page.mouse.click(x(7), box["y"] + 50)
    at(page, 7)
    head = page.locator(".dwp-playhead").bounding_box()
    assert head["x"] + 1 == pytest.approx(x(7), abs=2)
    page.keyboard.press("ArrowRight")
    at(page, 8)
    assert page.locator(".dwp-playhead").bounding_box()["x"] + 1 == pytest.approx(x(8), abs=2)
    page.mouse.move(x(1.5), box["y"] + 50)
    page.mouse.down()
    page.mouse.move(x(5.5), box["y"] + 60, steps=5)
    page.mouse.up()
    assert "frames 102 to 105" in page.inner_text(".dwp-table caption")
    assert page.get_attribute(".dwp", "data-frame") == "108"  # dragging does not seek
    page.mouse.dblclick(x(3), box["y"] + 50)
    assert page.inner_text(".dwp-table caption") == "Whole clip: 12 frames"


def table(page: Any) -> dict[str, list[str]]:
    rows = page.evaluate(
        "[...document.querySelectorAll('.dwp-table tr')].map(r => [...r.cells].map(c => c.innerText.trim()))"
    )
    return {cells[0]: [cell.split()[0] for cell in cells[1:] if cell] for cells in rows if len(cells) > 1 and cells[0]}


def figures(run: Run, method: str, frames: range) -> tuple[np.ndarray, float]:
    """Returns flips, flips near boundaries and inside in percent, and the consistency."""
    total = sum(table for i in frames if (table := run.transitions[i][method]) is not None)
    assert isinstance(total, np.ndarray)
    counted, kept = total.sum(axis=(1, 2)), np.trace(total, axis1=1, axis2=2)
    flat = total.sum(axis=0)
    union = flat.sum(axis=0) + flat.sum(axis=1) - np.diag(flat)
    share = 100 * np.array([1 - kept.sum() / counted.sum(), 1 - kept[1] / counted[1], 1 - kept[0] / counted[0]])
    return share, float(np.mean(100 * np.diag(flat)[union > 0] / union[union > 0]))


def test_the_table_has_the_numbers_of_clip_and_range(opened: Open, run: Run) -> None:
    page = opened()

    def check(columns: list[tuple[str, range]]) -> None:
        found = table(page)
        for place, (method, frames) in enumerate(columns):
            shares, consistency = figures(run, method, frames)
            for row, expected in zip(("Flips, %", "at boundaries, %", "inside, %"), shares, strict=True):
                assert float(found[row][place]) == pytest.approx(expected, abs=0.0051)
            assert float(found["TC, %"][place]) == pytest.approx(consistency, abs=0.0051)
            latency = [run.frames[i].methods[method].latency_ms for i in frames]
            assert float(found["mean, ms"][place]) == pytest.approx(np.mean(latency), abs=0.051)
            median = sorted(latency)[(len(latency) - 1) // 2]
            assert float(found["Median time, ms"][place]) == pytest.approx(median, abs=0.051)

    whole, part = range(FRAMES), range(3, 9)
    check([(method, whole) for method in METHODS])
    for edge, seconds in (("from", "0.3"), ("to", "0.85")):
        page.get_by_label(f"Range {edge}, seconds").fill(seconds)
        page.get_by_label(f"Range {edge}, seconds").dispatch_event("change")
    assert "frames 103 to 108" in page.inner_text(".dwp-table caption")
    check([(method, frames) for method in METHODS for frames in (whole, part)])
    kept = sum(run.transitions[i]["calm"][:, 2, 2].sum() for i in whole if run.transitions[i]["calm"] is not None)
    sky = sum(run.transitions[i]["calm"][:, :, 2].sum() for i in whole if run.transitions[i]["calm"] is not None)
    assert float(table(page)["sky"][0]) == pytest.approx(100 * (1 - kept / sky), abs=0.0051)


def test_a_range_of_a_long_clip_is_in_steps(
    opened: Open, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With steps of three frames the range 4 to 7 has the figures of the steps 3 to 8; the curve has every frame."""
    monkeypatch.setattr(counts_module, "MOST_COUNTS", 100)
    write_page(tmp_path / "steps", run)
    page = opened(tmp_path / "steps")
    page.evaluate("document.querySelector('.dwp').player.curve.zoom([0.4, 0.7])")
    assert page.inner_text(".dwp-table caption").endswith("flips in steps of 3 frames")
    shares, consistency = figures(run, "wild <i>", range(3, 9))
    assert float(table(page)["Flips, %"][3]) == pytest.approx(shares[0], abs=0.0051)
    assert float(table(page)["TC, %"][3]) == pytest.approx(consistency, abs=0.0051)
    curve = page.evaluate("document.querySelector('.dwp').player.numbers.curve(1)")
    expected = [run.flips_percent("wild <i>", i) for i in range(FRAMES)]
    assert [value is None for value in curve] == [value is None for value in expected]
    assert [value or 0 for value in curve] == pytest.approx([value or 0 for value in expected])


def test_the_download_is_the_folder_that_the_command_writes(opened: Open, folder: Path) -> None:
    page = opened()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the worst frames").click()
    assert waiting.value.suggested_filename == "clip_worst.zip"
    archive = zipfile.ZipFile(io.BytesIO(Path(waiting.value.path()).read_bytes()))
    assert archive.testzip() is None
    expected = {
        str(path.relative_to(folder / "worst")): path for path in (folder / "worst").rglob("*") if path.is_file()
    }
    assert sorted(archive.namelist()) == sorted(expected)
    assert len(expected) == 3 + 3 * (1 + len(METHODS))
    for name, path in expected.items():
        assert archive.read(name) == path.read_bytes(), name


def test_a_link_opens_frame_and_view(opened: Open) -> None:
    page = opened(fragment="#frame=107&view=wipe&a=input&b=labels-wild_i&x=0.250&colours=safe")
    at(page, 7)
    assert page.get_by_label("Right", exact=True).evaluate("list => list.selectedOptions[0].text") == "wild <i>"
    assert page.get_by_role("slider", name="Divider").get_attribute("aria-valuenow") == "25"
    assert page.get_by_label("Colours", exact=True).input_value() == "safe"
    page.keyboard.press("ArrowRight")
    at(page, 8)
    page.wait_for_function("location.hash.includes('frame=108&view=wipe')")
    page.evaluate("location.hash = '#frame=103&view=grid'")
    at(page, 3)
    assert page.locator(".dwp-stage figure").count() == 1 + len(METHODS)
    assert page.get_by_role("link", name="table").get_attribute("href") == "table.csv"


def test_names_are_text(opened: Open) -> None:
    page = opened()
    assert page.title() == "Test of <i>"
    assert page.locator(".dwp-classes label").all_inner_texts() == list(CLASSES)
    assert page.locator(".dwp-curve-bar label").first.inner_text() == METHODS[0]


def test_a_thinned_run_says_which_frame_it_shows(opened: Open, tmp_path: Path) -> None:
    """With a small budget some frames are missing. Asking for one of them shows the nearest and says so."""
    long = make_run(frames=150, cut=1)
    write_page(tmp_path / "long", long, budget_bytes=1_000_000)
    page = opened(tmp_path / "long")
    stored = page.evaluate("[...document.querySelector('.dwp').player.stored]")
    assert stored[0] == 0
    assert len(stored) < 150
    missing = next(i for i in range(150) if i not in stored)
    page.fill(".dwp-transport input[type=number]", str(FIRST + missing))
    page.press(".dwp-transport input[type=number]", "Enter")
    page.wait_for_function("document.querySelector('.dwp-transport .dwp-note').innerText.includes('is not stored')")
    shown = int(page.get_attribute(".dwp", "data-frame")) - FIRST
    assert shown == min(stored, key=lambda i: (abs(i - missing), i))
    assert f"{len(stored)} of 150 frames are stored" in page.inner_text(".dwp-transport .dwp-note")
    assert page.inner_text(".dwp-table caption") == "Whole clip: 150 frames"


def test_a_missing_chunk_is_one_clear_message(
    browser: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player_module, "EMBEDDED_BYTES", 0)
    monkeypatch.setattr(player_module, "CHUNK_BYTES", 20_000)
    player = write_page(tmp_path / "broken", run)
    (tmp_path / "broken/files" / player.chunks[-1]).unlink()
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/broken/index.html")
    page.wait_for_selector("[data-ready]")
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.dwp-transport .dwp-note').innerText")
    assert page.inner_text(".dwp-transport .dwp-note") == (
        f"The file files/{player.chunks[-1]} cannot be loaded. It must stay beside the page."
    )
    page.close()


def test_a_small_run_is_one_file(opened: Open, run: Run, tmp_path: Path) -> None:
    player = write_page(tmp_path / "small", run)
    assert player.chunks == ()
    assert not (tmp_path / "small/files").exists()
    page = opened(tmp_path / "small")
    show(page, FRAMES - 1)


def test_inside_an_element_of_another_page(browser: Any, folder: Path, tmp_path: Path) -> None:
    """As Gradio's HTML: an iframe whose page is part of the element, with the chunks at another address."""
    inside = player_frame((folder / "index.html").read_text(encoding="utf-8"), base=f"file://{folder}", title="Player")
    (tmp_path / "outer.html").write_text(f"<body class='dark'>{inside}</body>", encoding="utf-8")
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/outer.html#frame=105")
    frame = page.frame_locator("iframe")
    frame.locator('[data-ready][data-frame="105"]').wait_for()
    assert frame.locator("html").get_attribute("data-theme") == "dark"
    frame.get_by_role("button", name="One frame forward").click()
    page.wait_for_function("location.hash.includes('frame=106')")
    page.close()


def test_fits_a_phone_and_follows_the_dark_mode(opened: Open) -> None:
    light, dark = opened(width=390), opened(width=390, scheme="dark")
    for page in (light, dark):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    backgrounds = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
    assert backgrounds == ["rgb(255, 255, 255)", "rgb(20, 24, 30)"]
    boxes = [box.bounding_box() for box in light.locator(".dwp-stage canvas").all()]
    assert len({round(box["x"]) for box in boxes}) == 1
    assert all(box["width"] > 300 for box in boxes)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_of_accessibility(opened: Open, folder: Path, tmp_path: Path, scheme: str) -> None:
    """axe-core finds no serious or critical violation in any view, nor in the report of `dwnet flicker`."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    clip, labels = write_clip(tmp_path / "clip", 0), write_labels(tmp_path / "labels.npy", 0, 0.2)
    measure_flicker(clip, {"first": labels, "second": labels}, output=tmp_path / "out")
    (tmp_path / "out/flicker.html").rename(tmp_path / "out/index.html")
    report = opened(tmp_path / "out", scheme=scheme)
    assert serious(axe, report) == []
    page = opened(folder, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for name in ("Grid", "Wipe", "One", "Flips", "Flow"):
        view(page, name)
        assert serious(axe, page) == [], name


def serious(axe: Any, page: Any) -> list[tuple[str, list[str]]]:
    """Returns the serious and critical violations with the elements that have them."""
    return [
        (one["id"], [node["html"][:150] for node in one["nodes"][:3]])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_names_with_signs_of_addresses(opened: Open, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of chunks may be called like a clip with any characters."""
    monkeypatch.setattr(player_module, "EMBEDDED_BYTES", 0)
    name = 'a: #1 50%?&x="ß"'
    player = write_page(tmp_path / "odd", run, folder_name=name)
    assert (tmp_path / "odd" / name / player.chunks[0]).is_file()
    page = opened(tmp_path / "odd")
    show(page, 3)
