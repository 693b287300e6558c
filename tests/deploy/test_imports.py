"""The runtime of `dwnet.deploy` imports neither PyTorch nor onnx, and the package has every name in `__all__`."""

import subprocess
import sys

import dwnet.deploy

LIGHT = """
import sys
import dwnet.deploy
from dwnet.deploy import NetworkFileError, NetworkInfo, OnnxSegmenter, argmax_labels, load
import dwnet.deploy.runtime
print([name for name in ("torch", "onnx", "safetensors", "huggingface_hub") if name in sys.modules])
"""


def test_running_exported_networks_imports_no_pytorch() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_door_gives_every_name_it_lists() -> None:
    assert set(dwnet.deploy.__all__) <= set(dir(dwnet.deploy))
    for name in dwnet.deploy.__all__:
        assert getattr(dwnet.deploy, name) is not None
