"""The page as a server: its files on disk, turns, settings, signals, refused calls, and several visitors."""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from app.callbacks import Callbacks
from app.main import build
from app.messages import message, without_paths
from app.server import web_app
from app.settings import Address, PageLimits, is_loopback, page_address, page_limits
from app.storage import GRACE_SECONDS, PREFIX, Storage, StorageFullError
from app.turns import BusyError, Turns
from app.updates import Update
from dwnet.cli.demo import PageOptions
from dwnet.core.errors import DWNetError
from tests.app.conftest import PageProcess
from tests.exported import textured_frame, write_clip

MB = 1_000_000


def put(storage: Storage, name: str, megabytes: float, age_seconds: float) -> Path:
    """Writes an upload of a size, last used some time ago."""
    path = storage.uploads / name / "clip.mp4"
    path.parent.mkdir()
    path.write_bytes(bytes(int(megabytes * MB)))
    when = time.time() - age_seconds
    for one in (path, path.parent):
        os.utime(one, (when, when))
    return path


def test_old_files_are_removed_and_used_ones_stay(tmp_path: Path) -> None:
    storage = Storage(max_mb=100, keep_hours=1, parent=tmp_path)
    old, young = put(storage, "old", 0.1, 3700), put(storage, "young", 0.1, 3500)
    used = put(storage, "used", 0.1, 9000)
    with storage.using(used):
        storage.sweep()
        assert (old.exists(), young.exists(), used.exists()) == (False, True, True)
    storage.sweep()
    assert used.exists()  # its last use has just ended


def test_files_of_the_operator_are_not_touched(tmp_path: Path) -> None:
    """The bundled clips may be in a folder that the page cannot write."""
    storage = Storage(max_mb=100, keep_hours=1, parent=tmp_path)
    clip = tmp_path / "sample.mp4"
    clip.touch()
    os.utime(clip, (1000, 1000))
    with storage.using(clip):
        storage.sweep()
    assert clip.stat().st_mtime == 1000


def test_the_least_recently_used_files_make_room(tmp_path: Path) -> None:
    storage = Storage(max_mb=3, keep_hours=1, parent=tmp_path)
    first, second = put(storage, "first", 1, 900), put(storage, "second", 1, 600)
    fresh = put(storage, "fresh", 0.5, GRACE_SECONDS / 2)
    assert storage.used_bytes() == 2.5 * MB
    storage.check_room(1 * MB)
    assert (first.exists(), second.exists(), fresh.exists()) == (False, True, True)
    with storage.using(second), pytest.raises(StorageFullError, match="have 2 MB; allowed are 3 MB"):
        storage.check_room(int(1.7 * MB))
    assert fresh.exists()  # an upload that was just made is not removed before its use


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(max_mb=3, keep_hours=1, parent=tmp_path)
    monkeypatch.setattr("app.storage.shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(StorageFullError, match="the server's disk is full"):
        storage.check_room()


def test_the_sweeper_runs_by_itself_and_the_end_removes_everything(tmp_path: Path) -> None:
    with Storage(max_mb=3, keep_hours=1 / 3600, parent=tmp_path) as storage:
        old = put(storage, "old", 0.1, 100)
        deadline = time.monotonic() + 10
        while old.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not old.exists()
        folder = storage.new_run()
        assert storage.run(folder.name) == folder
        for wrong in ("", "..", "../uploads", "x" * 16):
            assert storage.run(wrong) is None
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_pages_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / f"{PREFIX}{ended.pid}-abc"
    (left / "runs").mkdir(parents=True)
    running = subprocess.Popen(["sleep", "60"])
    other = tmp_path / f"{PREFIX}{running.pid}-abc"
    other.mkdir()
    try:
        Storage(max_mb=3, keep_hours=1, parent=tmp_path)
        assert (left.exists(), other.exists()) == (False, True)
    finally:
        running.kill()
        running.wait()


def test_turns_are_taken_in_order() -> None:
    turns = Turns(most_waiting=2)
    first, second, third = turns.join(), turns.join(), turns.join()
    assert [turn.ahead for turn in (first, second, third)] == [0, 1, 2]
    with pytest.raises(BusyError, match="2 comparisons are waiting already; allowed are 2"):
        turns.join()
    assert first.wait(0)
    assert not second.wait(0)
    with second:
        pass  # it gives up
    assert third.ahead == 1
    threading.Timer(0.05, lambda: first.__exit__()).start()
    assert third.wait(10)
    turns.close()
    assert not third.wait(10)
    with pytest.raises(BusyError, match="being stopped"):
        turns.join()
    assert not turns.wait_until_idle(0)


def test_address_from_options_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_ROOT_PATH"):
        monkeypatch.delenv(name, raising=False)
    address = page_address(PageOptions())
    assert (address.host, address.root_path) == ("127.0.0.1", "")
    assert 7860 <= address.port < 7960
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/dwnet/")
    address = page_address(PageOptions())
    assert (address.host, address.root_path) == ("0.0.0.0", "/dwnet")
    assert address.url.startswith("http://127.0.0.1:")
    assert page_address(PageOptions(host="127.0.0.1")).host == "127.0.0.1"  # the option comes first
    monkeypatch.setenv("GRADIO_SERVER_PORT", "eighty")
    with pytest.raises(DWNetError, match=r"GRADIO_SERVER_PORT is eighty; allowed are 1\.\.65535"):
        page_address(PageOptions())
    with pytest.raises(DWNetError, match=r"--port is 70000; allowed are 1\.\.65535"):
        page_address(PageOptions(port=70000))
    with pytest.raises(DWNetError, match="--root-path is dwnet; allowed is a path such as /dwnet"):
        page_address(PageOptions(port=7999, root_path="dwnet"))


def test_limits_are_stated_and_checked() -> None:
    text = page_limits(PageOptions(max_mb=7, max_pixels=2_000_000, max_minutes=1.5, max_disk_mb=2500), "::1").text()
    for part in ("7 MB for a file", "2 megapixels", "1.5 min", "10 waiting", "2.5 GB", "6 h"):
        assert part in text
    for wrong, found in (
        ({"max_mb": 0}, "--max-mb is 0; allowed are whole numbers from 1"),
        ({"max_waiting": -1}, "--max-waiting is -1; allowed are whole numbers from 0"),
        ({"max_disk_mb": 100}, "--max-disk-mb is 100; allowed are whole numbers from 500"),
        ({"max_minutes": 0}, "--max-minutes is 0; allowed are numbers above 0"),
        ({"keep_hours": float("nan")}, "--keep-hours is nan; allowed are numbers above 0"),
    ):
        with pytest.raises(DWNetError, match=re.escape(found)):
            page_limits(PageOptions(**wrong), "127.0.0.1")


def test_networks_are_uploaded_only_where_the_operator_allows_it() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    cases = {("auto", "127.0.0.1"): True, ("auto", "0.0.0.0"): False, ("yes", "0.0.0.0"): True, ("no", "::1"): False}
    for (wanted, host), expected in cases.items():
        assert page_limits(PageOptions(upload_models=wanted), host).upload_models is expected


def test_messages_hold_no_paths() -> None:
    assert without_paths("/tmp/dwnet-page-1/uploads/ab/street.mp4: no video") == "street.mp4: no video"
    assert without_paths("cannot move '/etc/passwd' to /tmp/x/") == "cannot move 'passwd' to a folder"
    assert without_paths("12 px/frame at http://127.0.0.1:7860/gradio_api") == (
        "12 px/frame at http://127.0.0.1:7860/gradio_api"
    )
    assert message(DWNetError("/a b/c d.mp4: broken"), "/a b/c d.mp4") == "c d.mp4: broken"
    assert message(OSError(28, "No space left on device", "/tmp/x/y.mp4")) == "The server's disk is full."
    assert message(PermissionError(13, "Permission denied", "/tmp/x/y.mp4")) == "Permission denied"


def test_a_clip_that_is_too_long_is_refused(callbacks: Callbacks, clip: Path) -> None:
    """Six frames at ten frames per second are 0.6 s."""
    callbacks.limits = PageLimits(minutes=0.005)
    note, *_ = callbacks.describe(str(clip))
    assert "street.mp4 lasts 0.0 min; allowed are 0.005 min" in note
    run = callbacks.run(str(clip), 128, 1, 0, 0.6, "dis", 0, False, False, SimpleNamespace(session_hash="page"))
    with pytest.raises(gr.Error, match=r"street\.mp4 lasts"):
        list(run)
    assert list(callbacks.storage.runs.iterdir()) == []


def test_a_clip_that_was_removed_is_named(callbacks: Callbacks, tmp_path: Path) -> None:
    gone = tmp_path / "gone.mp4"
    run = callbacks.run(str(gone), 128, 1, 0, 0.6, "dis", 0, False, False, SimpleNamespace(session_hash="page"))
    with pytest.raises(gr.Error) as caught:
        list(run)
    assert caught.value.message == "gone.mp4 is no longer on the server; choose it again"


def blinking_clip(path: Path) -> Path:
    """A clip with a square that is red in every second frame, so that labels flip."""
    frames = [textured_frame(index) for index in range(6)]
    for index, frame in enumerate(frames):
        frame[16:48, 32:64] = (255, 0, 0) if index % 2 else (0, 0, 255)
    return write_clip(path, frames)


def test_results_are_served_and_linked(callbacks: Callbacks, tmp_path: Path) -> None:
    """The address of a result shows it again. Its files are served, and nothing outside its folder is."""
    from fastapi.testclient import TestClient

    clip = blinking_clip(tmp_path / "street.mp4")
    visitor = SimpleNamespace(session_hash="page", query_params={})
    last = list(callbacks.run(str(clip), 128, 1, 0, 0.6, "dis", 2, True, False, visitor))[-1]
    (folder,) = callbacks.storage.runs.iterdir()
    linked = SimpleNamespace(session_hash="other", query_params={"run": folder.name})
    status, live, player = callbacks.arrive(linked)
    assert "A stored result." in status
    assert (live["visible"], player["visible"]) == (False, True)
    assert player["value"] == last.player["value"]
    assert callbacks.arrive(visitor) == (gr.skip(),) * 3
    unknown = SimpleNamespace(session_hash="other", query_params={"run": "unknown"})
    assert "no longer on the server" in callbacks.arrive(unknown)[0]

    app = web_app(build(callbacks, []), callbacks.storage, callbacks.limits, Address("127.0.0.1", 7860, ""))
    client = TestClient(app)
    base = f"/runs/{folder.name}"
    hrefs = re.findall(r'href="([^"]+)" download', last.player["value"])
    names = ["report.zip", "worst.zip", *(f"street_comparison.{kind}" for kind in ("mp4", "csv", "json"))]
    assert hrefs == [f"{base}/{name}" for name in names]
    for href in hrefs:
        answer = client.get(href)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
    with zipfile.ZipFile(BytesIO(client.get(f"{base}/report.zip").content)) as report:
        assert "street_comparison.html" in report.namelist()
    with zipfile.ZipFile(BytesIO(client.get(f"{base}/worst.zip").content)) as worst:
        inside = {name.partition("/")[2] for name in worst.namelist()}
        assert {"frames.csv", "classes.json"} <= inside
    assert [path.name for path in callbacks.storage.runs.iterdir()] == [folder.name]  # the ZIP files are gone
    for wrong in (f"{base}/nothing.csv", "/runs/unknown/street_comparison.csv", f"{base}/..%2f..%2fuploads"):
        assert client.get(wrong).status_code == 404


def test_uploads_without_room_are_refused_in_one_line(
    callbacks: Callbacks, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fastapi.testclient import TestClient

    callbacks.storage.max_bytes = 1000
    app = web_app(build(callbacks, []), callbacks.storage, callbacks.limits, Address("127.0.0.1", 7860, ""))
    answer = TestClient(app).post("/gradio_api/upload", files={"files": ("street.mp4", clip.read_bytes())})
    assert answer.status_code == 507
    assert "allowed are 0 MB" in answer.json()["detail"]
    assert [record.name for record in caplog.records if "refused: POST" in record.getMessage()] == ["dwnet.page"]


def play(callbacks: Callbacks, clip: Path, seconds: float, seed: int) -> tuple[int, dict[str, list[Update]]]:
    """Three visitors press Compare, Stop and other clips at random times. Returns the presses and last updates."""
    ended = time.monotonic() + seconds
    presses = [0, 0, 0]
    shown: dict[str, list[Update]] = {}
    failures: list[str] = []

    def visit(number: int) -> None:
        choice, name = random.Random(seed + number), f"visitor {number}"
        request = SimpleNamespace(session_hash=name, query_params={})
        streams: list[threading.Thread] = []
        updates = shown.setdefault(name, [])

        def stream() -> None:
            try:
                run = callbacks.run(str(clip), 64, 1, 0, 0.6, "dis", 1, False, False, request)
                mine = [update for update in run if update != Update()]
                if mine:
                    # Whatever was pressed: the first update swaps the buttons and the last one swaps them back.
                    if mine[0].stop["interactive"] is not True or mine[-1].start["interactive"] is not True:
                        failures.append(f"{name}: {mine[0]} ... {mine[-1]}")
                    updates.append(mine[-1])
            except Exception as error:
                failures.append(f"{name}: {error!r}")

        while time.monotonic() < ended:
            presses[number] += 1
            action = choice.choice(("compare", "compare", "stop", "choose", "leave"))
            if action == "compare":
                streams.append(threading.Thread(target=stream))
                streams[-1].start()
            elif action == "stop":
                callbacks.stop(request)
            elif action == "leave" and choice.random() < 0.2:
                callbacks.leave(request)
            else:
                callbacks.describe(str(clip), request)
            time.sleep(choice.uniform(0, 0.3))
        for one in streams:
            one.join(60)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return sum(presses), shown


def check_random_presses(callbacks: Callbacks, clip: Path, seconds: float) -> None:
    presses, shown = play(callbacks, clip, seconds, seed=16)
    assert presses > 5 * seconds
    ends = [update for updates in shown.values() for update in updates]
    finished = [update for update in ends if "frames compared." in update.status]
    assert finished
    for update in finished:  # a result that is shown is complete, and it is the visitor's own
        name = re.search(r'data-run="([\w-]+)"', update.player["value"])
        assert name
        (report,) = (callbacks.storage.runs / name[1]).glob("*_comparison.json")
        count = re.search(r"(\d+) frames compared", update.status)
        assert count
        assert json.loads(report.read_text())["frames_compared"] == int(count[1])
    assert len({re.search(r'data-run="([\w-]+)"', update.player["value"])[1] for update in finished}) == len(finished)
    assert len(callbacks.turns) == 0
    assert callbacks._active == {}
    assert len(list(callbacks.storage.runs.iterdir())) == len(finished)


def test_random_presses_of_three_visitors(callbacks: Callbacks, clip: Path) -> None:
    check_random_presses(callbacks, clip, 3)


@pytest.mark.slow
def test_random_presses_of_three_visitors_for_two_minutes(callbacks: Callbacks, clip: Path) -> None:
    check_random_presses(callbacks, clip, 120)


@pytest.mark.slow
def test_sigterm_during_a_run_leaves_nothing(
    start_page: Callable[..., PageProcess], tmp_path: Path, clip: Path
) -> None:
    """The process ends without an abort, and neither uploads nor results remain."""
    from gradio_client import Client, handle_file

    long = write_clip(tmp_path / "long.mp4", [textured_frame(index, (360, 640), shift_px=2) for index in range(300)])
    page = start_page()
    client = Client(page.url, verbose=False)
    client.submit(clip=handle_file(str(long)), max_side=640, every=1, limit=0, opacity=0.5, api_name="/compare_clip")
    deadline = time.monotonic() + 60
    while not list(page.folder.glob(f"{PREFIX}*/runs/*/.*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(page.folder.glob(f"{PREFIX}*/runs/*/.*"))  # the files of the running comparison
    assert list(page.folder.glob(f"{PREFIX}*/uploads/*/long.mp4"))
    began = time.monotonic()
    assert page.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 30
    assert [path.name for path in page.folder.iterdir()] == ["server.log"]
    assert "terminate called" not in page.log()
    assert "Traceback" not in page.log()


@pytest.mark.slow
def test_refused_calls_and_the_description_of_the_api_show_no_paths(
    start_page: Callable[..., PageProcess], tmp_path: Path
) -> None:
    """Each refused call leaves one line in the log, without a traceback."""
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    page = start_page(GRADIO_SERVER_NAME="127.0.0.1")
    text = tmp_path / "notes.mp4"
    text.write_text("not a video\n" * 100)
    client = Client(page.url, verbose=False)
    before = page.log().count("\n")
    given = {"max_side": 160, "every": 1, "limit": 3, "opacity": 0.5, "api_name": "/compare_clip"}
    with pytest.raises(AppError, match=r"^notes\.mp4: "):
        client.predict(clip=handle_file(str(text)), **given)
    with pytest.raises(AppError, match=r"working size is 5 px; allowed are 64\.\.1280 px"):
        client.predict(clip=handle_file(str(text)), **given | {"max_side": 5})
    # A file of the server that was not uploaded. The client of Gradio would upload its own file of this name.
    secret = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    call = urllib.request.Request(
        f"{page.url}/gradio_api/call/compare_clip",
        json.dumps({"data": [secret, 160, 1, 3, 0.5]}).encode(),
        {"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(call, timeout=30))["event_id"]
    answer = urllib.request.urlopen(f"{call.full_url}/{event}", timeout=30).read().decode()
    assert "event: error" in answer
    assert "/etc" not in answer
    time.sleep(0.5)
    added = page.log().splitlines()[before:]
    assert "Traceback" not in page.log()
    assert len(added) == 3
    assert all("refused: " in line for line in added)
    for address in ("gradio_api/info", "config"):
        answer = urllib.request.urlopen(f"{page.url}/{address}", timeout=30).read().decode()
        assert str(page.folder) not in answer
        assert str(Path(__file__).parents[2]) not in answer
        assert "/tmp/" not in answer


def removing_proxy(port: int, prefix: str) -> ThreadingHTTPServer:
    """A proxy that serves another port under a path, as `proxy_pass` of nginx with a slash at the end does."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            length = int(self.headers.get("content-length", 0))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request(
                self.command, self.path[len(prefix) :] or "/", self.rfile.read(length), dict(self.headers.items())
            )
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while part := answer.read1(65536):
                self.wfile.write(part)
                self.wfile.flush()
            connection.close()

        do_GET = do_POST = do_HEAD = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.slow
def test_a_proxy_under_a_path(start_page: Callable[..., PageProcess], clip: Path, tmp_path: Path) -> None:
    """Page, uploads, the stream of a comparison and its files work under the path, and name no other address."""
    from gradio_client import Client, handle_file

    page = start_page("--root-path", "/dwnet", GRADIO_SERVER_NAME="localhost")
    proxy = removing_proxy(page.port, "/dwnet")
    try:
        url = f"http://127.0.0.1:{proxy.server_address[1]}/dwnet/"
        config = json.load(urllib.request.urlopen(f"{url}config", timeout=30))
        assert config["root"].endswith("/dwnet")
        client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
        report, files = client.predict(
            clip=handle_file(str(clip)), max_side=160, every=1, limit=3, opacity=0.5, api_name="/compare_clip"
        )
        assert report["frames_compared"] == 3
        assert all(Path(file).stat().st_size > 0 for file in files)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}runs/unknown/report.zip", timeout=30)
        assert json.load(caught.value)["detail"] == "This result is no longer on the server."
    finally:
        proxy.shutdown()
