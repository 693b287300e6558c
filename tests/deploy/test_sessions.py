"""Runtimes: which one is taken and why, equal results, and that none of them reports to anybody."""

import ctypes
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dwnet.deploy import sessions
from dwnet.deploy.runtime import load, load_any
from dwnet.deploy.runtime_names import use_runtime
from dwnet.deploy.sessions import RuntimeChoiceError, open_session, runtime_choices
from tests.exported import textured_frame, write_keyframe
from tests.foreign import colour_network

MODEL = Path(__file__).parents[2] / "assets/models/dwnet.onnx"
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture(autouse=True)
def _no_choice_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DWNET_RUNTIME", raising=False)
    monkeypatch.delenv("DWNET_DEVICE", raising=False)


def available(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    monkeypatch.setattr(sessions.onnxruntime, "get_available_providers", lambda: [*providers, "CPUExecutionProvider"])


def bfloat16(monkeypatch: pytest.MonkeyPatch, *, installed: bool, fast: bool) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(sessions, "_bfloat16", lambda: installed and fast)


def test_auto_takes_the_best_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, "TensorrtExecutionProvider", "CUDAExecutionProvider", "CoreMLExecutionProvider")
    bfloat16(monkeypatch, installed=True, fast=True)
    assert [(c.runtime, c.device, c.precision) for c in runtime_choices()] == [
        ("onnxruntime", "cuda", "float32"),
        ("openvino", "cpu", "bfloat16"),
        ("onnxruntime", "cpu", "float32"),
    ]
    assert [(c.runtime, c.device) for c in runtime_choices("onnxruntime")] == [
        ("onnxruntime", "cuda"),
        ("onnxruntime", "cpu"),
    ]
    assert [(c.runtime, c.device) for c in runtime_choices(device="cpu")] == [
        ("openvino", "cpu"),
        ("onnxruntime", "cpu"),
    ]
    available(monkeypatch)
    bfloat16(monkeypatch, installed=True, fast=False)
    assert list(map(str, runtime_choices())) == [
        "ONNX Runtime on cpu, float32 (its build has no accelerator that starts by itself; the processor has no "
        "bfloat16, in which OpenVINO would be faster)"
    ]
    bfloat16(monkeypatch, installed=False, fast=False)
    assert str(runtime_choices()[0]).endswith("starts by itself; OpenVINO is not installed)")


def test_the_environment_replaces_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch)
    bfloat16(monkeypatch, installed=True, fast=True)
    monkeypatch.setenv("DWNET_RUNTIME", "onnxruntime")
    monkeypatch.setenv("DWNET_DEVICE", "cpu")
    assert [str(choice) for choice in runtime_choices()] == ["ONNX Runtime on cpu, float32 (asked for)"]
    monkeypatch.setenv("DWNET_RUNTIME", "other")
    with pytest.raises(RuntimeChoiceError, match="unknown runtime 'other'"):
        load(MODEL)
    use_runtime("onnxruntime", "auto")
    assert os.environ["DWNET_RUNTIME"] == "onnxruntime"
    assert os.environ["DWNET_DEVICE"] == "cpu"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_device_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The build lists CUDA, but the machine has none: the reason says what failed. By name, it is an error."""
    available(monkeypatch, "CUDAExecutionProvider")
    bfloat16(monkeypatch, installed=False, fast=False)
    session = open_session(MODEL, threads=1)
    assert (session.choice.runtime, session.choice.device) == ("onnxruntime", "cpu")
    assert "onnxruntime on cuda failed: " in session.choice.reason
    with pytest.raises(Exception, match="CUDAExecutionProvider"):
        open_session(MODEL, threads=1, device="cuda")


@pytest.mark.parametrize(
    ("runtime", "device", "message"),
    [
        ("torch", "auto", "unknown runtime 'torch'; allowed: auto, onnxruntime, openvino"),
        ("auto", "tpu", "unknown device 'tpu'; allowed: auto, cpu, cuda, tensorrt, coreml, directml, gpu"),
        ("openvino", "cuda", "device 'cuda' is not one of openvino; gpu is OpenVINO's"),
        ("onnxruntime", "gpu", "device 'gpu' is not one of onnxruntime"),
        (
            "auto",
            "tensorrt",
            r"device 'tensorrt': this build of ONNX Runtime has CPUExecutionProvider; Tensorrt.* is in",
        ),
    ],
)
def test_what_this_machine_does_not_have(
    runtime: str, device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    available(monkeypatch)
    with pytest.raises(RuntimeChoiceError, match=message):
        load(MODEL, runtime=runtime, device=device)


def test_openvino_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    bfloat16(monkeypatch, installed=False, fast=False)
    with pytest.raises(RuntimeChoiceError, match=r'runtime openvino is not installed: pip install "dwnet\[openvino\]"'):
        load(MODEL, runtime="openvino")


# Slow: in a worker that runs further tests, OpenVINO's objects have ended the process with a segmentation fault.
@pytest.mark.slow
@needs_openvino
def test_openvino_gives_the_same_labels(tmp_path: Path) -> None:
    frame = textured_frame(size=(96, 128))
    ours, theirs = (load(MODEL, threads=1, runtime=name, device="cpu") for name in ("onnxruntime", "openvino"))
    assert (theirs.session.choice.runtime, theirs.session.threads) == ("openvino", 1)
    assert theirs.info == ours.info
    expected, found = ours.logits(frame), theirs.logits(frame)
    tolerance = 0.05 if theirs.session.choice.precision == "bfloat16" else 1e-3
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    # Two parts of one file, and another package's network.
    write_keyframe(tmp_path / "k.onnx")
    keyframe = load_any(tmp_path / "k.onnx", threads=1, runtime="openvino")
    assert np.abs(keyframe.logits(frame) - frame.transpose(2, 0, 1) / 255).max() < 1e-2  # type: ignore[union-attr]
    path = colour_network(tmp_path / "a.onnx", kind="labels", given="int64")
    session = open_session(path, threads=1, runtime="openvino")
    (labels,) = session.run(["out"], {"pixels": frame.transpose(2, 0, 1)[None].astype(np.float32)})
    assert (labels[0] == frame.argmax(axis=2)).all()
    assert [port.dtype for port in (*session.inputs, *session.outputs)] == ["float32", "int64"]


GUARD = """
import ctypes, struct, sys
# A filter of the kernel: socket() of the Internet families ends the process, also from native code.
AF_INET, AF_INET6 = 2, 10
number = {"x86_64": 41, "aarch64": 198}[sys.argv[1]]
load, equal, ret = 0x20, 0x15, 0x06
KILL, ALLOW = 0x80000000, 0x7FFF0000
program = [(load, 0, 0, 0), (equal, 0, 4, number), (load, 0, 0, 16), (equal, 1, 0, AF_INET), (equal, 0, 1, AF_INET6),
           (ret, 0, 0, KILL), (ret, 0, 0, ALLOW)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
assert libc.prctl(22, 2, ctypes.byref(Program(len(program), ctypes.addressof(buffer)))) == 0
"""


def guarded(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    return subprocess.run(
        [sys.executable, "-c", GUARD + code, platform.machine()],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "OMP_NUM_THREADS": "1"},
    )


# CI runs it in a process of its own: in a worker of pytest-xdist that had run other tests, it ended the worker.
@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the guard is a filter of Linux"
)
def test_no_runtime_opens_a_socket(tmp_path: Path) -> None:
    """Networks load and run where an Internet socket ends the process. Nothing is written to the home folder."""
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    control = guarded("import socket\nsocket.socket(socket.AF_INET)", tmp_path)
    assert control.returncode == -31, control.stderr  # SIGSYS
    runtimes = ["onnxruntime"] + (["openvino"] if importlib.util.find_spec("openvino") else [])
    code = f"""
import time
import numpy as np
import dwnet
for runtime in {runtimes}:
    network = dwnet.load({str(MODEL)!r}, threads=1, runtime=runtime)
    network.labels(np.zeros((64, 64, 3), np.uint8))
time.sleep(3)  # telemetry is sent by a thread
print("done")
"""
    done = guarded(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert [str(path) for path in tmp_path.rglob("*") if "icrosoft" in path.name] == []
