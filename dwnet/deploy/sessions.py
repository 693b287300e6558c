"""Runtimes: one interface to run an ONNX graph in ONNX Runtime or OpenVINO, on the CPU or an accelerator.

`open_session` returns a `Session`. Its `choice` says which runtime, device and precision were taken, and why.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import onnxruntime

from dwnet.core.errors import DWNetError, first_line
from dwnet.core.launch import available_cpus
from dwnet.deploy.runtime_names import DEVICE_VARIABLE, RUNTIME_VARIABLE, DeviceName, RuntimeName

onnxruntime.disable_telemetry_events()  # for programs that import it before this library (see dwnet/__init__.py)

_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
# TensorRT builds an engine for minutes and Core ML computes in half precision: both run only by name.
_AUTOMATIC = ("cuda", "directml")
# CUDA convolutions would otherwise round their inputs to 10 bits of mantissa (TF32).
_PROVIDER_OPTIONS: dict[str, dict[str, Any]] = {"cuda": {"use_tf32": 0}}

_ORT_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
} | {f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


class RuntimeChoiceError(DWNetError):
    """A runtime or device that this machine does not have; the message names what it has."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    dtype: str
    """NumPy name of the element type, or the runtime's name if NumPy has none."""
    shape: tuple[int | None, ...]
    """Sizes; None where the graph leaves the size open."""


@dataclass(frozen=True)
class RuntimeChoice:
    """The runtime that runs a network, and the reason for it."""

    runtime: str
    """`onnxruntime` or `openvino`."""
    device: str
    """A `DeviceName` other than auto."""
    precision: str
    """Number format of the computation: float32, bfloat16, or `as stored` where the device decides."""
    reason: str

    @property
    def short(self) -> str:
        """The choice in words, without its reason."""
        name = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[self.runtime]
        return f"{name} on {self.device}, {self.precision}"

    @property
    def usual(self) -> bool:
        """Whether it is ONNX Runtime on the CPU in float32, which published figures are measured with."""
        return (self.runtime, self.device) == ("onnxruntime", "cpu")

    def __str__(self) -> str:
        """Return the choice in words."""
        return f"{self.short} ({self.reason})"


class Session(Protocol):
    """A graph that is ready to run. Several threads may run it at the same time."""

    choice: RuntimeChoice
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    """The metadata entries of the file."""
    threads: int
    """CPU threads of a run."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns the named outputs, in order, for the inputs by name."""


class OrtSession:
    """A session of ONNX Runtime.

    Args:
        model: the file, or the content of a file.
        threads: CPU threads of a run.
        choice: the runtime, device and reason; its device must be one that ONNX Runtime has.
    """

    def __init__(self, model: Path | bytes, *, threads: int, choice: RuntimeChoice) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads would keep the CPU busy during the next measured step: the flow or another network.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # exceptions carry the errors; warnings are of unused initialisers
        providers: list[Any] = ["CPUExecutionProvider"]
        if choice.device != "cpu":
            providers.insert(0, (_PROVIDERS[choice.device], _PROVIDER_OPTIONS.get(choice.device, {})))
        self._session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=providers
        )
        used = self._session.get_providers()[0]
        if choice.device != "cpu" and used != _PROVIDERS[choice.device]:
            raise RuntimeChoiceError(
                f"device {choice.device!r}: ONNX Runtime could not start {_PROVIDERS[choice.device]} and would use "
                f"{used}; its libraries are missing or the device is not there"
            )
        self.choice, self.threads = choice, threads
        self.inputs = tuple(map(_ort_port, self._session.get_inputs()))
        self.outputs = tuple(map(_ort_port, self._session.get_outputs()))
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `Session.run`."""
        return self._session.run(list(outputs), dict(inputs))


class OpenVinoSession:
    """A session of OpenVINO; arguments as for `OrtSession`."""

    def __init__(self, model: Path | bytes, *, threads: int, choice: RuntimeChoice) -> None:
        import onnx
        import openvino

        core = openvino.Core()
        graph = core.read_model(model if isinstance(model, bytes) else str(model))
        properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[choice.precision]}
        if choice.device == "cpu":
            properties["INFERENCE_NUM_THREADS"] = str(threads)
        self._compiled = core.compile_model(graph, choice.device.upper(), properties)
        self.choice, self.threads = choice, threads
        self.inputs = tuple(map(_openvino_port, self._compiled.inputs))
        self.outputs = tuple(map(_openvino_port, self._compiled.outputs))
        self._places = {name: place for place, port in enumerate(self._compiled.outputs) for name in port.get_names()}
        proto = (
            onnx.load_model_from_string(model)
            if isinstance(model, bytes)
            else onnx.load_model(model, load_external_data=False)
        )
        self.metadata: Mapping[str, str] = {entry.key: entry.value for entry in proto.metadata_props}

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `Session.run`."""
        # A request of its own for each run: threads share the session.
        found = self._compiled.infer_new_request(dict(inputs))
        return [np.asarray(found[self._places[name]]) for name in outputs]


def open_session(
    model: Path | bytes, *, threads: int | None = None, runtime: str = "auto", device: str = "auto"
) -> Session:
    """Returns a session for an ONNX graph.

    `auto` takes, in this order: CUDA or DirectML where the build of ONNX Runtime has it and it starts; OpenVINO in
    bfloat16 where it is installed and the processor computes in bfloat16; ONNX Runtime on the CPU in float32. The
    environment variables DWNET_RUNTIME and DWNET_DEVICE replace "auto".

    Args:
        model: an ONNX file, or the content of one.
        threads: CPU threads of a run; None uses every CPU that this process may use.
        runtime: a `RuntimeName`.
        device: a `DeviceName`.

    Raises:
        RuntimeChoiceError: for a runtime or device that this machine does not have.
        Exception: of the runtime, if it cannot open the graph.
    """
    failed: list[str] = []
    *others, last = runtime_choices(runtime, device)
    for choice in others:
        try:
            return _open(model, threads, choice)
        except Exception as error:  # the next choice is the answer to any failure
            failed.append(f"{choice.runtime} on {choice.device} failed: {first_line(error)}")
    return _open(model, threads, replace(last, reason="; ".join([last.reason, *failed])))


def runtime_choices(runtime: str = "auto", device: str = "auto") -> list[RuntimeChoice]:
    """Returns the choices that `open_session` tries, best first.

    Raises:
        RuntimeChoiceError: as `open_session`.
    """
    runtime = os.environ.get(RUNTIME_VARIABLE, runtime) if runtime == "auto" else runtime
    device = os.environ.get(DEVICE_VARIABLE, device) if device == "auto" else device
    for what, value, allowed in (
        ("runtime", runtime, get_args(RuntimeName)),
        ("device", device, get_args(DeviceName)),
    ):
        if value not in allowed:
            raise RuntimeChoiceError(f"unknown {what} {value!r}; allowed: {', '.join(allowed)}")
    if runtime == "openvino" or device == "gpu":
        if runtime == "onnxruntime" or device not in ("auto", "cpu", "gpu"):
            raise RuntimeChoiceError(
                f"device {device!r} is not one of {runtime}; gpu is OpenVINO's, cuda, tensorrt, coreml and directml "
                "are ONNX Runtime's, cpu is either's"
            )
        return [_openvino_choice("cpu" if device == "auto" else device)]
    if device not in ("auto", "cpu"):
        return [_ort_choice(device, "asked for")]
    if device == "cpu" and runtime == "onnxruntime":
        return [RuntimeChoice("onnxruntime", "cpu", "float32", "asked for")]
    found = onnxruntime.get_available_providers()
    automatic = [name for name in _AUTOMATIC if _PROVIDERS[name] in found and device == "auto"]
    choices = [_ort_choice(name, "this build of ONNX Runtime has it") for name in automatic]
    if runtime == "auto" and _bfloat16():
        choices.append(
            RuntimeChoice("openvino", "cpu", "bfloat16", "it is installed, and the processor computes in bfloat16")
        )
    choices.append(RuntimeChoice("onnxruntime", "cpu", "float32", _cpu_reason(runtime, device)))
    return choices


def _cpu_reason(runtime: str, device: str) -> str:
    reasons = [] if device == "cpu" else ["its build has no accelerator that starts by itself"]
    if runtime == "auto" and find_spec("openvino") is None:
        reasons.append("OpenVINO is not installed")
    elif runtime == "auto" and not _bfloat16():
        reasons.append("the processor has no bfloat16, in which OpenVINO would be faster")
    return "; ".join(reasons) or "the safe choice"


def _open(model: Path | bytes, threads: int | None, choice: RuntimeChoice) -> Session:
    session = OrtSession if choice.runtime == "onnxruntime" else OpenVinoSession
    return session(model, threads=threads or available_cpus(), choice=choice)


def _ort_choice(device: str, reason: str) -> RuntimeChoice:
    found = onnxruntime.get_available_providers()
    if _PROVIDERS[device] not in found:
        raise RuntimeChoiceError(
            f"device {device!r}: this build of ONNX Runtime has {', '.join(found)}; {_PROVIDERS[device]} is in another "
            "build (for cuda and tensorrt: pip install onnxruntime-gpu, for directml: onnxruntime-directml)"
        )
    precision = "as stored" if device in ("tensorrt", "coreml") else "float32"
    return RuntimeChoice("onnxruntime", device, precision, reason)


def _openvino_choice(device: str) -> RuntimeChoice:
    if find_spec("openvino") is None:
        raise RuntimeChoiceError('runtime openvino is not installed: pip install "dwnet[openvino]"')
    import openvino

    devices = openvino.Core().available_devices
    if not any(name.partition(".")[0].lower() == device for name in devices):
        raise RuntimeChoiceError(f"device {device!r}: OpenVINO finds {', '.join(devices)}")
    if device == "cpu" and _bfloat16():
        return RuntimeChoice("openvino", device, "bfloat16", "asked for; the processor computes in bfloat16")
    return RuntimeChoice("openvino", device, "float32", "asked for")


def _bfloat16() -> bool:
    """Returns whether OpenVINO is installed and computes in bfloat16 on this processor."""
    if find_spec("openvino") is None:
        return False
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


_OPENVINO_TYPES = {"float32": "f32", "bfloat16": "bf16"}


def _ort_port(port: Any) -> Port:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in port.shape)
    return Port(port.name, _ORT_TYPES.get(port.type, port.type), shape)


def _openvino_port(port: Any) -> Port:
    shape = tuple(None if side.is_dynamic else int(side.get_length()) for side in port.get_partial_shape())
    return Port(port.get_any_name(), np.dtype(port.get_element_type().to_dtype()).name, shape)
