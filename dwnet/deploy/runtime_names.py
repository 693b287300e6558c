"""Names of runtimes and devices, and the environment variables that choose them for a process and its workers."""

import os
from typing import Literal

RuntimeName = Literal["auto", "onnxruntime", "openvino"]
"""Runtime of exported networks; auto takes the fastest that this machine has (`dwnet.deploy.sessions`)."""
DeviceName = Literal["auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "gpu"]
"""Device of exported networks: gpu is OpenVINO's (Intel), the others except cpu are ONNX Runtime's."""

RUNTIME_VARIABLE, DEVICE_VARIABLE = "DWNET_RUNTIME", "DWNET_DEVICE"
"""Environment variables that say what "auto" takes."""


def use_runtime(runtime: str, device: str) -> None:
    """Sets what "auto" takes in this process and in those that it starts. "auto" keeps the environment's choice."""
    for variable, value in ((RUNTIME_VARIABLE, runtime), (DEVICE_VARIABLE, device)):
        if value != "auto":
            os.environ[variable] = value
