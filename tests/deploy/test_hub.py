"""Trained networks are loaded from a folder and from a hub as they were saved. Errors name what does not fit.

The hub is a local server that stores what the unmodified huggingface_hub sends.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from dwnet import __version__
from dwnet.data import CAMVID_11
from dwnet.deploy import hub as module
from dwnet.deploy.checkpoint import Checkpoint, CheckpointError
from dwnet.deploy.hub import CARD, CONFIG, FILES, WEIGHTS, HubError, PretrainedSegmenter, from_pretrained
from dwnet.method.specs import MethodName, method_spec
from dwnet.method.training import Method
from dwnet.segmentation import NetworkSpec, Segmenter

NETWORK = NetworkSpec(backbone="mobilenetv2", channels=16)


def checkpoint(name: MethodName) -> Checkpoint:
    torch.manual_seed(0)
    method = method_spec(name, **({"kernel_size": 1, "delta": 5.0} if name == "dwnet" else {}))
    return Checkpoint(
        network=NETWORK,
        method=method,
        classes=CAMVID_11,
        weights=method.build(NETWORK.build(11)).state_dict(),
        recipe={"name": "tiny", "data": {"crop": [32, 32]}},
        iteration=12,
        metrics={"miou_percent": 57.9, "iou_percent": [50.0, None]},
        commit="abc",
    )


@pytest.fixture(scope="module")
def trained() -> PretrainedSegmenter:
    return PretrainedSegmenter.from_checkpoint(checkpoint("dwnet"))


@pytest.fixture
def folder(trained: PretrainedSegmenter, tmp_path: Path) -> Path:
    trained.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def frame(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(seed))


def test_everything_comes_back(trained: PretrainedSegmenter, folder: Path) -> None:
    loaded = from_pretrained(str(folder))
    assert isinstance(loaded, PretrainedSegmenter)
    for name in ("network", "method", "classes", "recipe", "iteration", "metrics", "commit", "library_version"):
        assert getattr(loaded, name) == getattr(trained, name), name
    assert loaded.library_version == __version__
    assert not loaded.segmenter.training
    with torch.no_grad():
        assert torch.equal(loaded.segmenter(frame()), trained.segmenter(frame()))
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert os.listdir(folder.parent) == [folder.name]
    if os.name == "posix":
        umask = os.umask(0)
        os.umask(umask)
        assert folder.stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("name", ["baseline", "dwnet"])
def test_a_per_frame_method_leaves_only_its_segmenter(name: MethodName, tmp_path: Path) -> None:
    source = checkpoint(name)
    trained = PretrainedSegmenter.from_checkpoint(source)
    assert isinstance(trained.module, Segmenter)
    trained.save_pretrained(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    segmenter = source.build().segmenter.state_dict()
    assert set(weights) == set(segmenter)
    assert all(torch.equal(weights[key], value) for key, value in segmenter.items())
    loaded = PretrainedSegmenter.from_pretrained(tmp_path)
    assert loaded.module is loaded.segmenter


@pytest.mark.parametrize("name", ["static_warp", "keyframe"])
def test_other_methods_keep_what_they_need_at_inference(name: MethodName, tmp_path: Path) -> None:
    source = checkpoint(name)
    if name == "static_warp":
        source.weights["network.fusion.weight"] = torch.tensor(0.7)
    PretrainedSegmenter.from_checkpoint(source).save_pretrained(tmp_path)
    loaded = PretrainedSegmenter.from_pretrained(tmp_path)
    assert isinstance(loaded.module, Method)
    assert loaded.segmenter is loaded.module.segmenter
    assert set(load_file(tmp_path / WEIGHTS)) == set(source.weights)
    batch = {"frame": frame(1), "neighbour": frame(2)}
    with torch.no_grad():
        assert torch.equal(loaded.module.predict(batch), source.build().predict(batch))
        assert not torch.allclose(loaded.module.predict(batch), loaded.segmenter(batch["frame"]))
    assert 'trained.module.predict({"frame": frame, "neighbour": earlier})' in (tmp_path / CARD).read_text()


def test_the_configuration_says_what_goes_in_and_what_comes_out(trained: PretrainedSegmenter, folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    assert config["classes"]["names"] == list(CAMVID_11.classes)
    assert config["classes"]["palette"][3] == [128, 64, 128]
    assert config["input"] == {
        "colour": "RGB",
        "range": [0, 1],
        "normalisation": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "inside_network": True},
        "multiple": 16,
        "stride": 16,
        "channels": 16,
    }
    assert config["recipe"] == trained.recipe
    assert config["metrics"]["miou_percent"] == 57.9
    assert config["commit"] == "abc"


def test_the_model_card_is_true(trained: PretrainedSegmenter, folder: Path) -> None:
    card = (folder / CARD).read_text()
    assert card == str(trained.generate_model_card(name="saved"))
    assert card.startswith("---\nlibrary_name: dwnet\n")
    data = huggingface_hub.ModelCard(card).data
    assert (data.pipeline_tag, data.tags) == ("image-segmentation", ["semantic-segmentation", "video"])
    assert "\n\n\n" not in card
    assert card.endswith("|\n")
    for fact in ("pspnet on mobilenetv2", "`dwnet`", "| miou_percent | 57.90 |", "SignSymbol", "`tiny`, 12 iterations"):
        assert fact in card, fact
    assert "No evaluation was recorded." in str(replace(trained, metrics={}).generate_model_card(name="x"))
    # The card's example runs in the parent of the folder.
    (code,) = card.split("```python\n")[1:]
    code = "import torch\nframe = torch.rand(1, 3, 32, 32)\n" + code.partition("```")[0]
    scope: dict[str, Any] = {}
    before = os.getcwd()
    os.chdir(folder.parent)
    try:
        exec(code, scope)
    finally:
        os.chdir(before)
    assert scope["logits"].shape == (1, 11, 32, 32)


# --- writing ---------------------------------------------------------------------------------------------------------


def test_an_earlier_save_is_replaced_and_an_empty_folder_filled(trained: PretrainedSegmenter, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    trained.save_pretrained(tmp_path / "there")
    replace(trained, iteration=99).save_pretrained(tmp_path / "there")
    assert PretrainedSegmenter.from_pretrained(tmp_path / "there").iteration == 99
    assert os.listdir(tmp_path) == ["there"]


@pytest.mark.parametrize("present", ["thesis.txt", "README.md"])
def test_a_folder_of_something_else_is_left_alone(trained: PretrainedSegmenter, tmp_path: Path, present: str) -> None:
    (tmp_path / present).write_text("mine")
    with pytest.raises(HubError, match=f"holds {present}; allowed is a new or empty folder, or one that"):
        trained.save_pretrained(tmp_path)
    assert os.listdir(tmp_path) == [present]
    assert (tmp_path / present).read_text() == "mine"
    with pytest.raises(HubError, match=f"holds {present}; allowed"):
        trained.save_pretrained(tmp_path / present)


def test_interrupted_writing_leaves_the_old_folder(
    trained: PretrainedSegmenter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies_half_way(_: Any, target: Path, **__: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "save_file", dies_half_way)
    for target in (folder, folder.parent / "new"):
        with pytest.raises(OSError, match="no space left"):
            replace(trained, iteration=99).save_pretrained(target)
    assert PretrainedSegmenter.from_pretrained(folder).iteration == 12
    assert os.listdir(folder.parent) == [folder.name]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_weights_of_another_architecture_are_refused_naming_them(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    name = "classifier.weight"
    save_file(
        {key: value for key, value in weights.items() if key != name} | {"extra": torch.ones(1)}, folder / WEIGHTS
    )
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*1 missing \({name}\); 1 unexpected \(extra\)"):
        PretrainedSegmenter.from_pretrained(folder)
    save_file(weights | {name: torch.ones(5, 16, 1, 1)}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"1 of another shape \(.* \(5, 16, 1, 1\) instead of \(11, 16, 1, 1\)\)"):
        PretrainedSegmenter.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"library": "timm"}, r"config\.json is not one that .* wrote for format 1: library: .* 'dwnet', found 'timm'"),
        ({"format": 7}, "wrote for format 1: format: Input should be 1, found 7"),
        ({"network": {"colour": 1}}, "incomplete or of another version .*colour"),
        ({"network": {"segmenter": "x"}}, "incomplete or of another version .*unknown segmenter 'x'"),
        ({"method": {"name": "magic"}}, "incomplete or of another version .*magic"),
        ({"classes": {"name": "x"}}, r"wrote for format 1: classes\.names: Field required"),
        ({"commit": None}, "wrote for format 1: commit: Field required"),
        ({"iteration": "12"}, "wrote for format 1: iteration: .* valid integer, found '12'"),
        (
            {"classes": {"name": "x", "names": ["a"], "palette": [[0, 0, 999]]}},
            "incomplete or of another version .*colour of 'a' is .*; allowed are three integers 0..255",
        ),
    ],
)
def test_other_configurations_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((folder / CONFIG).read_text()) | change
    if config["commit"] is None:
        del config["commit"]
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(HubError, match=message):
        PretrainedSegmenter.from_pretrained(folder)


def test_a_folder_of_the_first_version_loads(trained: PretrainedSegmenter, folder: Path) -> None:
    """It has the fields of all methods. Unknown entries are ignored, and a metric may be unknown."""
    config = json.loads((folder / CONFIG).read_text())
    config["method"] |= {"fusion": "concatenation", "key_interval": 7}
    config |= {"newer": [1], "metrics": {"miou_percent": float("nan"), "iou_percent": [None]}}
    (folder / CONFIG).write_text(json.dumps(config))
    loaded = from_pretrained(folder)
    assert loaded.method == trained.method
    assert loaded.metrics["iou_percent"] == [None]


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"junk")
    with pytest.raises(HubError, match=r"saved: model\.safetensors is missing or unreadable"):
        PretrainedSegmenter.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(HubError, match=r"saved: model\.safetensors is missing or unreadable"):
        PretrainedSegmenter.from_pretrained(folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(HubError, match=r"saved: config\.json is not one that .* wrote for format 1: Invalid JSON"):
        PretrainedSegmenter.from_pretrained(folder)
    (folder / CONFIG).unlink()
    with pytest.raises(HubError, match=r"saved: config\.json is missing or unreadable"):
        PretrainedSegmenter.from_pretrained(folder)


def test_no_folder_and_no_name_of_a_repository() -> None:
    with pytest.raises(HubError, match=r"'models/of/mine': no such folder, and no repository of that name could be"):
        PretrainedSegmenter.from_pretrained("models/of/mine")


def test_the_cache_alone(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"'some/one': no such folder, and no repository of that name at revision 'v1' "):
        PretrainedSegmenter.from_pretrained("some/one", revision="v1", cache_dir=tmp_path, local_files_only=True)


# --- a hub -----------------------------------------------------------------------------------------------------------


class LocalHub(ThreadingHTTPServer):
    """The part of the hub's HTTP interface that creating a repository, a commit and a download need."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}  # name, commit, path
        self.tokens: set[str] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubRequest(BaseHTTPRequestHandler):
    server: LocalHub

    def log_message(self, *_: Any) -> None:
        """Prints nothing."""

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path.strip("/").split("/")
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if path == ["api", "repos", "create"]:
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            known = name in self.server.repositories
            self.server.repositories.setdefault(name, {})
            self.answer({"url": f"{self.server.address}/{name}"}, 409 if known else 200)
        elif path == ["api", "validate-yaml"]:
            self.answer({"warnings": [], "errors": []})
        elif path[4:5] == ["preupload"]:
            files = json.loads(body)["files"]
            kept = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            self.answer({"files": kept})
        elif path[4:5] == ["commit"]:
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            name, commit = "/".join(path[2:4]), hashlib.sha1(body).hexdigest()
            self.server.repositories[name][commit] = files
            url = f"{self.server.address}/{name}/commit/{commit}"
            self.answer({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})
        else:
            self.answer({"error": f"no {self.path}"}, 404)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/").split("/")
        name = "/".join(path[2:4] if path[0] == "api" else path[:2])
        if not self.server.repositories.get(name):
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return
        commits = self.server.repositories[name]
        revision = path[5] if path[0] == "api" else path[3]
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self.answer({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        elif path[0] == "api" and path[4] == "revision":
            siblings = [{"rfilename": file} for file in commits[commit]]
            self.answer({"id": name, "sha": commit, "siblings": siblings, "tags": [], "private": False})
        elif path[0] == "api" and path[4] == "tree":
            files = commits[commit].items()
            self.answer(
                [{"type": "file", "path": p, "size": len(b), "oid": hashlib.sha1(b).hexdigest()} for p, b in files]
            )
        elif path[2] == "resolve" and path[4] in commits[commit]:
            content = commits[commit][path[4]]
            etag = hashlib.sha1(content).hexdigest()
            self.answer(content, ETag=f'"{etag}"', X_Repo_Commit=commit, Accept_Ranges="bytes")
        else:
            self.answer({"error": f"no {self.path}"}, 404, X_Error_Code="EntryNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()


@pytest.fixture
def local_hub() -> Iterator[LocalHub]:
    server = LocalHub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


CONVERSATION = """
import sys
import torch
from dwnet.deploy.hub import HubError, PretrainedSegmenter

trained = PretrainedSegmenter.from_pretrained(sys.argv[1])
first = trained.push_to_hub("some/street", commit_message="first").rpartition("/")[2]
with torch.no_grad():
    trained.segmenter.get_parameter("classifier.bias").add_(1)
second = trained.push_to_hub("some/street").rpartition("/")[2]
biases = [
    PretrainedSegmenter.from_pretrained("some/street", revision=revision).segmenter.get_parameter("classifier.bias")
    for revision in (None, first, second)
]
assert torch.equal(biases[0], trained.segmenter.get_parameter("classifier.bias"))
assert torch.equal(biases[2], biases[0])
assert torch.allclose(biases[1] + 1, biases[0])
again = PretrainedSegmenter.from_pretrained("some/street", revision=first, local_files_only=True)
assert torch.equal(again.segmenter.get_parameter("classifier.bias"), biases[1])
assert again.method == trained.method and again.classes == trained.classes
for attempt in (
    lambda: PretrainedSegmenter.from_pretrained("some/nothing"),
    lambda: PretrainedSegmenter.from_pretrained("some/street", revision="v7"),
    lambda: trained.push_to_hub("no name of a repository"),
):
    try:
        attempt()
    except HubError as error:
        print(error)
"""


def test_pushed_and_loaded_again(local_hub: LocalHub, folder: Path) -> None:
    # In a separate process, because huggingface_hub reads its environment at import.
    environment = os.environ | {
        "HF_ENDPOINT": local_hub.address,
        "HF_HOME": str(folder.parent / "home"),
        "HF_TOKEN": "hf_of_a_test",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", CONVERSATION, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert len(printed) == 3, printed
    assert printed[0].startswith("'some/nothing': no such folder, and no repository of that name could be fetched")
    assert "'some/street': no such folder, and no repository of that name at revision 'v7' could be" in printed[1]
    assert printed[2].startswith("'no name of a repository': not pushed to the hub (")
    commits = list(local_hub.repositories["some/street"].values())
    assert [sorted(commit) for commit in commits] == [sorted(FILES)] * 2
    assert commits[0][WEIGHTS] == (folder / WEIGHTS).read_bytes()
    assert commits[0][CONFIG] == (folder / CONFIG).read_bytes()
    assert 'from_pretrained("some/street")' in commits[0][CARD].decode()
    assert local_hub.tokens == {"Bearer hf_of_a_test"}


def test_without_a_hub_there_is_one_clear_error(
    trained: PretrainedSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(
        HubError, match=r"^'some/one': no such folder, and no repository of that name .*(onnect|locate the files)"
    ):
        PretrainedSegmenter.from_pretrained("some/one", cache_dir=tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    with pytest.raises(HubError, match=r"^'some/one': not pushed to the hub \(.*onnect"):
        trained.push_to_hub("some/one")
