"""Writes an exported network with int8 arithmetic: static quantisation, calibrated on frames.

Activations are unsigned, weights signed and scaled per output channel. Convolutions with their activations and
additions are quantised; the computation of sizes, of pooling and of resizing stays in float32.
"""

import json
import logging
import platform
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.deploy.layout import resize_image, scaled
from dwnet.deploy.network_info import METADATA_KEY, NetworkInfo
from dwnet.deploy.onnx_networks import frame_size, image_tensor
from dwnet.deploy.runtime import load

QUANTISED = ("Conv", "Relu", "Clip", "Add")
"""Kinds of nodes that compute in int8.

With Relu and Clip among them, the range of a convolution is that behind its ReLU. The range in front of it is several
times wider and would cost most of the 256 levels.
"""


@dataclass(frozen=True)
class QuantisedFile:
    """Result of a quantisation."""

    path: Path
    bytes: int
    """Size of the file."""
    frames: int
    """Number of calibration frames."""
    reduce_range: bool
    """Whether weights have 7 bits."""


def needs_reduced_range() -> bool:
    """Returns whether int8 products saturate on this processor: on x86 without VNNI, or where this is not known.

    Without VNNI, pairs of products of unsigned activations and signed weights are added in 16 bits. Weights of 7 bits
    keep them in range.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return True
    return not {"avx512_vnni", "avx_vnni"} & set(flags)


def quantise(
    source: str | Path, target: str | Path, frames: Iterable[np.ndarray], *, reduce_range: bool | None = None
) -> QuantisedFile:
    """Writes the int8 version of an exported per-frame network.

    Args:
        source: a file that `dwnet export` wrote, of the kind "segmenter".
        target: the file to write.
        frames: calibration frames, uint8 (H, W, 3) RGB, as the network will see them; several dozen are enough.
        reduce_range: use 7 bits for weights; None does so on processors that need it (`needs_reduced_range`).

    Raises:
        DWNetError: for another kind of network, one that is in int8 already, no frames, or the same file twice.
        NetworkFileError: for a file that cannot be used.
    """
    source, target = Path(source), Path(target)
    network = load(source, kind="segmenter", runtime="onnxruntime", device="cpu")
    if network.info.precision != "float32" or network.info.method == "adopted":
        raise DWNetError(
            f"{source}: int8 is for files that `dwnet export` wrote in float32, found {network.info.method} in "
            f"{network.info.precision}"
        )
    if source.resolve() == target.resolve():
        raise DWNetError(f"{target} is the network itself; allowed is another file")
    reduced = needs_reduced_range() if reduce_range is None else reduce_range
    model = onnx.load_model(source)
    _single_weights(model)
    reader = _Reader(frames, network.info)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        written = Path(folder, "int8.onnx")
        quantize_static(
            model,
            written,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=reduced,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load_model(written)
    _describe(quantised, model, reader.count, reduced)
    with atomic_write(target) as temporary:
        onnx.save(quantised, temporary)
    return QuantisedFile(target, target.stat().st_size, reader.count, reduced)


class _Reader(CalibrationDataReader):
    """The network's inputs for the calibration frames, one after another."""

    def __init__(self, frames: Iterable[np.ndarray], info: NetworkInfo) -> None:
        self._frames, self._info = iter(frames), info
        self.count = 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the next input; None at the end."""
        image = next(self._frames, None)
        if image is None:
            if not self.count:
                raise DWNetError("no calibration frames; allowed is one or more")
            return None
        self.count += 1
        size = self._info.size or scaled(frame_size(image), self._info.scale)
        if size != frame_size(image):
            image = resize_image(image, size)
        return {"image": image_tensor(image, self._info.multiple)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the quantiser's advice to optimise the graph first; the exporter has done so."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _single_weights(model: onnx.ModelProto) -> None:
    """Replaces weights stored in half precision, and the nodes that convert them, by float32 weights."""
    half = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in half:
            tensor = half[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _describe(quantised: onnx.ModelProto, model: onnx.ModelProto, frames: int, reduced: bool) -> None:
    """Copies the metadata of the float32 model, and adds the precision."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    about: dict[str, Any] = json.loads(entries[METADATA_KEY])
    about["precision"] = "int8"
    about["int8"] = {"calibration_frames": frames, "reduce_range": reduced, "quantised": list(QUANTISED)}
    onnx.helper.set_model_props(quantised, entries | {METADATA_KEY: json.dumps(about)})
