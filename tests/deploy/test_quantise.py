"""int8 files: what is quantised, the metadata, and what is refused."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from dwnet.cli.main import main
from dwnet.core.errors import DWNetError
from dwnet.deploy import quantise as module
from dwnet.deploy.quantise import needs_reduced_range, quantise
from dwnet.deploy.runtime import load
from tests.exported import textured_frame, write_segmenter, write_static_warp
from tests.foreign import quarters

MODEL = Path(__file__).parents[2] / "assets/models/baseline.onnx"


def test_a_network_of_one_convolution(tmp_path: Path) -> None:
    """Scores are the colours of 0..1: 8 bits keep them within half of a level of activation and of weight."""
    source = write_segmenter(tmp_path / "a.onnx", "dwnet")
    frame, labels = quarters()
    written = quantise(source, tmp_path / "b.onnx", [frame] * 3)
    assert (written.path, written.frames) == (tmp_path / "b.onnx", 3)
    assert written.reduce_range == needs_reduced_range()
    network = load(written.path, threads=1, runtime="onnxruntime", device="cpu")
    assert (network.info.precision, network.info.method, network.info.classes[0]) == ("int8", "dwnet", "Red")
    expected = frame.transpose(2, 0, 1) / 255
    assert np.abs(network.logits(frame) - expected).max() < 0.02
    assert (network.labels(frame) == labels).all()
    model = onnx.load(written.path)
    operations = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in operations
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.INT8 in types
    assert onnx.TensorProto.UINT8 in types
    entry = json.loads(next(item.value for item in model.metadata_props if item.key == "dwnet"))
    assert entry["int8"]["calibration_frames"] == 3


@pytest.mark.slow
def test_a_bundled_network_keeps_its_labels(tmp_path: Path) -> None:
    frames = [textured_frame(index, (128, 160), shift_px=5) for index in range(4)]
    written = quantise(MODEL, tmp_path / "b.onnx", frames)
    assert written.bytes < 0.6 * MODEL.stat().st_size
    single, whole = (load(path, threads=1, runtime="onnxruntime", device="cpu") for path in (MODEL, written.path))
    equal = [(single.labels(frame) == whole.labels(frame)).mean() for frame in frames]
    assert np.mean(equal) > 0.95
    weights = [
        tensor for tensor in onnx.load(written.path).graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    ]
    limit = 64 if written.reduce_range else 127
    largest = max(int(np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max()) for tensor in weights)
    assert largest == pytest.approx(limit, abs=1)


def test_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = "processor: 0\nflags: fpu avx2 {}\n"
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    for extra, expected in (("", True), ("avx512_vnni", False), ("avx_vnni", False)):
        text = flags.format(extra)
        monkeypatch.setattr(Path, "read_text", lambda *_, _text=text, **__: _text)
        assert needs_reduced_range() is expected
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    assert needs_reduced_range() is False


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_segmenter(tmp_path / "a.onnx", "dwnet")
    with pytest.raises(DWNetError, match="no calibration frames; allowed is one or more"):
        quantise(source, tmp_path / "b.onnx", [])
    with pytest.raises(DWNetError, match=r"a\.onnx is the network itself; allowed is another file"):
        quantise(source, source, [textured_frame()])
    with pytest.raises(DWNetError, match=r"holds a network of kind 'static_warp'; expected 'segmenter'"):
        quantise(write_static_warp(tmp_path / "w.onnx"), tmp_path / "b.onnx", [textured_frame()])
    quantise(source, tmp_path / "b.onnx", [textured_frame()])
    with pytest.raises(DWNetError, match="int8 is for files that `dwnet export` wrote in float32, found dwnet in int8"):
        quantise(tmp_path / "b.onnx", tmp_path / "c.onnx", [textured_frame()])
    for arguments, message in (
        (["--int8"], "--int8 and --calibrate belong together"),
        (["--calibrate", str(tmp_path)], "--int8 and --calibrate belong together"),
        (
            ["--int8", "--calibrate", str(tmp_path), "--scale", "2"],
            "--refinement, --size and --scale are for checkpoints",
        ),
        (
            ["--int8", "--calibrate", str(tmp_path), "--calibration-frames", "0"],
            "--calibration-frames is 0; allowed are",
        ),
    ):
        assert main(["export", str(source), *arguments]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_measures_what_int8_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    root = tmp_path / "data"
    for part in ("train", "val"):
        for index in range(3):
            frame, labels = quarters(64, 96)
            for folder, array in (("images", frame[..., ::-1]), ("labels", labels)):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / part / folder / f"{index:04}.png"), array)
    (root / "classes.json").write_text('["Red", "Green", "Blue"]')
    source = write_segmenter(tmp_path / "a.onnx", "dwnet")
    assert main(["export", str(source), "--int8", "--calibrate", str(root), "--calibration-frames", "2"]) == 0
    out = capsys.readouterr()
    first, second = out.out.strip().splitlines()
    assert first.startswith(f"{tmp_path / 'a_int8.onnx'}: 0.0 MB, int8, weights of ")
    assert first.endswith("calibrated on 2 frames")
    assert second.startswith(
        "3 validation frames: mIoU 100.00 % in float32, 100.00 % in int8; 100.00 % of labels equal"
    )
    assert "warning" not in out.err
    assert load(tmp_path / "a_int8.onnx", threads=1).info.precision == "int8"
