"""`dwnet flicker`: its four outputs, many clips, several processes, and failures of a process."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import tyro

from dwnet.cli.flicker import flicker
from dwnet.core.launch import Processes
from dwnet.flicker import measure_flicker, work
from dwnet.flicker.corpus import CorpusClip, read_corpus
from dwnet.flicker.work import measure_missing, write_record
from dwnet.flow.registry import build_flow
from dwnet.video import VideoWriter
from dwnet.viewer import player_script
from tests.flicker.short_clip import H, T, W, write_clip, write_labels

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: object) -> None:
    tyro.extras.subcommand_cli_from_dict({"flicker": flicker}, args=["flicker", *map(str, arguments)])


# --------------------------------------------------------------------------------------------------------- one clip


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of one clip, and with the clip."""
    folder = tmp_path_factory.mktemp("one")
    clip = write_clip(folder / "a clip", 0)
    sets = [
        f"{name}={write_labels(folder / f'{name}.npy', 1, noise)}" for name, noise in (("calm", 0.01), ("<b>", 0.2))
    ]
    (folder / "classes.txt").write_text("left\nright\nnoise & more\n")
    truth = write_labels(folder / "truth.npy", 2, 0)
    run(clip, *sets, "--output", folder / "out", "--classes", folder / "classes.txt", "--truth", truth)
    return folder


def test_json_and_csv(reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((reported / "out/flicker.json").read_text())
    calm, wild = document["sets"]["calm"], document["sets"]["<b>"]
    assert calm["flip_rate_percent"] < wild["flip_rate_percent"]
    assert calm["miou_percent"] > wild["miou_percent"]
    assert wild["flicker_error_percent"] > 0
    assert (document["flow"]["name"], document["second_flow"]["name"]) == ("dis", "dis_fast")
    assert calm["second_flow_pairs"] == 1
    assert "medium preset" in document["flow"]["description"]
    assert list(calm["per_class"]) == ["left", "right", "noise & more"]
    digest = hashlib.sha256((reported / "calm.npy").read_bytes()).hexdigest()
    assert document["clips"][0]["sets"]["calm"]["sha256"] == digest
    lines = "".join(
        f"{i}.png {hashlib.sha256((reported / f'a clip/{i}.png').read_bytes()).hexdigest()}\n" for i in range(T)
    )
    assert document["clips"][0]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert document["versions"]["numpy"] == np.__version__
    assert document["moments"]["<b>"][0]["file"].endswith(".png")
    rows = list(csv.DictReader((reported / "out/flicker.csv").open()))
    assert len(rows) == T
    weights = [float(row["compared_percent"]) for row in rows[1:]]
    rates = [float(row["<b>_flips_percent"]) for row in rows[1:]]
    assert np.average(rates, weights=weights) == pytest.approx(wild["flip_rate_percent"], rel=1e-3)


def test_the_page_needs_nothing_else(reported: Path) -> None:
    page = (reported / "out/flicker.html").read_text()
    # The page contains the plotting library. The address in it is in a comment.
    script = re.sub(r"</?script>", "", player_script())
    assert script in page
    page = page.replace(script, "")
    assert "http" not in page
    assert not re.search(r"<link|@import|src=[^d\s]*//|<script[^>]+src", page)
    # Names are text, not markup.
    assert "&lt;b&gt;" in page
    assert "noise &amp; more" in page
    assert 'href="../a%20clip/' in page
    assert (reported / "out" / "../a clip").is_dir()
    for text in ("Flips alone prove nothing", "How much depends on the flow", "Where it flickers", "The worst moments"):
        assert text in page
    assert page.count('class="moment"') >= 2
    assert page.count("data:image/jpeg;base64,") == 2  # the heat maps
    # Every moment links to its frame in the player, which holds all frames.
    links = re.findall(r'class="moment">\s*<a href="#frame=(\d+)">frame \1</a>', page)
    assert len(links) == page.count('class="moment"')
    chunks = re.findall(r'deliver\("\w+","\d+",(.*)\);', page)
    assert sum(len(json.loads(chunk)) for chunk in chunks) == T


class Page(HTMLParser):
    """Elements and text of a page, without scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def strings(content: Any) -> list[str]:
    """Returns all strings in a JSON value."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [text for one in content for text in strings(one)]
    return [content] if isinstance(content, str) else []


def test_names_on_the_page_are_text(tmp_path: Path) -> None:
    """Markup, quotes and other letters in the names of sets, clips and classes are shown as they are."""
    evil = """</script><img src=x onerror="alert('1')">&amp;ß日本"""
    sets = [f"{name}={write_labels(tmp_path / f'{index}.npy', 1, 0.2)}" for index, name in enumerate(("a", "b"))]
    clip = write_clip(tmp_path / "Straße & <i>'q'", 0)
    (tmp_path / "classes.json").write_text(json.dumps(["<u>left", evil, "c"]), encoding="utf-8")
    run(clip, *sets, "--output", tmp_path / "plain")
    plain = Page((tmp_path / "plain/flicker.html").read_text(encoding="utf-8"))
    report = measure_flicker(
        clip,
        {evil: tmp_path / "0.npy", '"b" <': tmp_path / "1.npy"},
        classes=tmp_path / "classes.json",
        output=tmp_path / "out",
    )
    html = (tmp_path / "out/flicker.html").read_text(encoding="utf-8")
    page = Page(html)
    # The elements are the same as with plain names, and no attribute runs code.
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    assert "Flicker of Straße & <i>'q'" in page.text
    for name in report.sets:
        assert page.text.count(name) >= 4  # table, second flow, heat map, moments
        assert ("alt", f"heat map of {name}") in page.attributes
    # The data of the plots is JSON that cannot close its element. It has the unchanged names.
    plots = re.findall(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL)
    assert plots
    assert not any("<" in data for data in plots)
    assert set(report.sets) <= set(strings(json.loads(plots[0])))


def test_the_table_says_it_all(reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(reported / "a clip", f"calm={reported / 'calm.npy'}", "--output", reported / "again", "--flow", "dis_fast")
    printed = capsys.readouterr()
    assert "| set | flips % |" in printed.out
    assert "flow: dis_fast (DIS, OpenCV's fast preset" in printed.out
    assert "along dis_fast" in printed.out
    assert "along dis, on the same 1 pairs" in printed.out
    assert "Flips alone prove nothing" in printed.out


def test_a_video_is_linked_by_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.exported import write_clip as write_video

    frames = [cv2.imread(str(path)) for path in sorted(write_clip(tmp_path / "frames", 0).iterdir())]
    write_video(tmp_path / "clip.mp4", [frame[..., ::-1] for frame in frames])
    labels = write_labels(tmp_path / "labels.npy", 0, 0.2)
    run(tmp_path / "clip.mp4", labels, "--output", tmp_path / "out")
    assert re.search(r'href="\.\./clip\.mp4#t=\d+\.\d{3}"', (tmp_path / "out/flicker.html").read_text())


def test_along_a_flow_network_from_a_file(tmp_path: Path) -> None:
    """RAFT with a last layer of zeros finds no motion. Flips are then the changes between frames, without occlusion."""
    raft = build_flow("raft_small", weights="none").get_submodule("network")
    for parameter in raft.get_submodule("update_block.flow_head.conv2").parameters():
        torch.nn.init.zeros_(parameter)
    torch.save(raft.state_dict(), tmp_path / "raft.pth")
    clip, labels = write_clip(tmp_path / "clip", 0), write_labels(tmp_path / "labels.npy", 0, 0.2)
    weights = ["--flow", "raft_small", "--flow-weights", tmp_path / "raft.pth", "--second-flow", "dis"]  # not DIS's own
    run(clip, labels, "--output", tmp_path / "out", *weights)
    document = json.loads((tmp_path / "out/flicker.json").read_text())
    ids = np.load(labels)
    changed = 100 * (ids[1:] != ids[:-1]).mean()
    assert document["sets"]["labels"]["flip_rate_percent"] == pytest.approx(changed, abs=1e-3)
    assert document["flow"]["name"] == "raft_small"
    assert "raft.pth" in document["flow"]["description"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux reports it")
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """With ten times the frames, keeping each frame or label map would add 75 MB or 19 MB to the peak memory."""
    height, width = 72, 96
    texture = np.random.default_rng(0).integers(0, 256, (height, width + 40, 3)).astype(np.uint8)
    program = "import tyro; from dwnet.cli.flicker import flicker; tyro.cli(flicker)"

    def peak_mb(frames: int) -> float:
        clip, labels = tmp_path / f"{frames}.mp4", tmp_path / f"{frames}.npy"
        with VideoWriter(clip, fps=25, size=(width, height)) as writer:
            for index in range(frames):
                left = abs(40 - index % 80)
                writer.write(texture[:, left : left + width])
        np.save(labels, np.random.default_rng(1).integers(0, 5, (frames, height, width)).astype(np.uint8))
        options = ["--flow", "dis_fast", "--output", str(tmp_path / f"out{frames}")]
        command = [sys.executable, "-c", program, str(clip), str(labels), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return usage.ru_maxrss / 1024

    assert peak_mb(4_000) < peak_mb(400) + 15


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    clip, labels = write_clip(tmp_path / "clip", 0), write_labels(tmp_path / "labels.npy", 0, 0)
    np.save(labels, np.load(labels)[:3])
    with pytest.raises(ValueError, match="holds 3 label maps"):
        run(clip, labels, "--output", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    for arguments in ([], [clip, labels, "--corpus", tmp_path], ["--corpus", tmp_path, "--truth", labels]):
        with pytest.raises(ValueError, match="give a CLIP and its PREDICTIONS, or --corpus"):
            run(*arguments)
    with pytest.raises(ValueError, match="second_every is 0; allowed are whole numbers from 1"):
        run(clip, labels, "--second-every", "0")


# ----------------------------------------------------------------------------------------------------------- corpus


def test_two_processes_give_what_one_gives(corpus: Path, tmp_path: Path) -> None:
    """`accelerate launch` with two processes gives the same files as one process."""
    script = tmp_path / "run.py"
    script.write_text("import sys, tyro\nfrom dwnet.cli.flicker import flicker\ntyro.cli(flicker)\n")
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_port", "0"]
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf")}
    arguments = ["--corpus", str(corpus), "--output", str(tmp_path / "two")]
    launched = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *options, str(script), *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    assert launched.stdout.count("| set |") == 1
    run("--corpus", corpus, "--output", tmp_path / "one")
    for name in ("flicker.json", "flicker.csv", "clips/b.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    one, two = ((tmp_path / name / "flicker.html").read_text() for name in ("one", "two"))
    assert one == two
    assert not list((tmp_path / "two/clips").glob(".*"))


def test_a_second_run_measures_only_what_changed(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def times() -> dict[str, int]:
        return {path.stem: path.stat().st_mtime_ns for path in (out / "clips").glob("*.json")}

    run("--corpus", corpus, "--output", out)
    first, document = times(), (out / "flicker.json").read_bytes()
    (out / "clips/b.json").write_text("{half a rec")
    run("--corpus", corpus, "--output", out)
    second = times()
    assert {name for name in first if first[name] != second[name]} == {"b"}
    assert (out / "flicker.json").read_bytes() == document
    write_labels(corpus / "predictions/calm/c.npy", 9, 0.5)
    run("--corpus", corpus, "--output", out)
    third = times()
    assert {name for name in second if second[name] != third[name]} == {"c"}
    run("--corpus", corpus, "--output", out, "--flow", "dis_fast")
    assert all(third[name] != now for name, now in times().items())


def test_a_listed_corpus_is_the_same(corpus: Path, tmp_path: Path) -> None:
    entries = [
        {
            "name": name,
            "clip": f"clips/{name}",
            "predictions": {one: f"predictions/{one}/{name}.npy" for one in ("calm", "wild")},
            "truth": f"truth/{name}.npy",
        }
        for name in ("a", "b", "c")
    ]
    (corpus / "list.json").write_text(json.dumps(entries))
    assert read_corpus(corpus / "list.json") == read_corpus(corpus)


def entry(**changes: Any) -> dict[str, Any]:
    return {"clip": "clips/a", "predictions": {"calm": "predictions/calm/a.npy"}} | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"list\.json: is not a corpus \(Invalid JSON: EOF"),
        ({"clip": "a"}, r"is not a corpus \(Input should be a valid array, found \{'clip': 'a'\}\); allowed is a JSON"),
        ("[]", "names no clip"),
        ([{"clip": "a"}], r"is not a corpus \(0\.predictions: Field required\); allowed is a JSON list"),
        ([entry(labels="x")], r"\(0\.labels: Extra inputs are not permitted, found 'x'\)"),
        ([entry(clip=3)], r"\(0\.clip: Input should be a valid string, found 3\)"),
        ([entry(), entry(predictions={})], r"\(1\.predictions: Dictionary should have at least 1 item"),
        ([entry(name="../a")], r"a clip is called '\.\./a'; allowed are names of files"),
        ([entry(), entry()], "names the clip 'a' twice"),
        ([entry(), entry(name="b", predictions={"x": "y"})], "clip 'b' has the sets x; allowed are those"),
    ],
)
def test_a_wrong_corpus_is_one_clear_error(corpus: Path, content: object, message: str) -> None:
    (corpus / "list.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_corpus(corpus / "list.json")


def test_a_corpus_folder_that_lacks_something(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such corpus; allowed is a JSON list"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no clips/ and predictions/"):
        read_corpus(tmp_path)
    (corpus / "predictions/wild/b.npy").unlink()
    with pytest.raises(ValueError, match="wild: holds 0 entries called 'b'"):
        read_corpus(corpus)


def test_a_clip_that_fails_is_named(corpus: Path, tmp_path: Path) -> None:
    np.save(corpus / "predictions/wild/b.npy", np.zeros((2, H, W), int))
    with pytest.raises(ValueError, match=r"clip b: .*holds 2 label maps"):
        run("--corpus", corpus, "--output", tmp_path / "out")
    assert (tmp_path / "out/clips/a.json").exists()
    assert not (tmp_path / "out/flicker.json").exists()


# -------------------------------------------------------------------------------------------------------- processes

CLIPS = [CorpusClip(name, Path(name), ()) for name in ("a", "b")]


def recorder(folder: Path) -> Callable[[CorpusClip, str], None]:
    return lambda clip, key: write_record(folder / f"{clip.name}.json", key, {"name": clip.name})


def test_the_first_process_says_which_other_failed(tmp_path: Path) -> None:
    """The other process is a real one. It fails before it has measured its clip."""
    code = f"""
from pathlib import Path
from dwnet.flicker.corpus import CorpusClip
from dwnet.flicker.work import measure_missing
from dwnet.core.launch import Processes
def fail(clip, key):
    raise ValueError("the disk is full")
clips = [CorpusClip(name, Path(name), ()) for name in "ab"]
measure_missing(clips, ["1", "2"], Path({str(tmp_path)!r}), fail, Processes(1, 2))
"""
    started = False

    def measure(clip: CorpusClip, key: str) -> None:
        nonlocal started
        recorder(tmp_path)(clip, key)
        failed = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        started = "the disk is full" in failed.stderr

    with pytest.raises(RuntimeError, match="process 1 failed: the disk is full"):
        measure_missing(CLIPS, ["1", "2"], tmp_path, measure, Processes(0, 2))
    assert started
    # In the next run the old failure is ignored, and the finished record is kept.
    records = measure_missing(CLIPS, ["1", "2"], tmp_path, recorder(tmp_path), Processes(0, 1))
    assert records == [{"name": "a"}, {"name": "b"}]


def test_a_process_that_died_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SILENT_SECONDS", 0.5)
    with pytest.raises(RuntimeError, match=r"process 1 has not been heard of .*still to measure: b"):
        measure_missing(CLIPS, ["1", "2"], tmp_path, recorder(tmp_path), Processes(0, 2))


def test_what_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Processes.of_launcher() == Processes(0, 1)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="RANK is '1' and WORLD_SIZE '1'"):
        Processes.of_launcher()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Processes.of_launcher() == Processes(1, 2)
