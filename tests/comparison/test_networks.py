"""Loading a folder of networks."""

from pathlib import Path

import pytest

from dwnet.comparison import (
    Networks,
    load_networks,
)
from dwnet.deploy.runtime import NetworkFileError
from tests.exported import (
    metadata,
    write_models,
    write_segmenter,
)


def test_folder_of_networks(models: Path, tmp_path: Path) -> None:
    found = load_networks(models, threads=1)
    assert list(found.segmenters) == ["baseline", "static_warp", "dwnet"]
    assert found.flow_refinement is not None
    with pytest.raises(NetworkFileError, match=r"no \.onnx file in"):
        load_networks(tmp_path)
    only = write_segmenter(tmp_path / "only" / "dwnet.onnx", "dwnet").parent
    with pytest.raises(NetworkFileError, match=r"no network of method 'baseline' in .*; found: dwnet"):
        load_networks(only)
    write_segmenter(only / "again.onnx", "dwnet")
    with pytest.raises(NetworkFileError, match=r"again\.onnx and .*dwnet\.onnx are both of method 'dwnet'"):
        load_networks(only)
    mixed = write_models(tmp_path / "mixed")
    write_segmenter(mixed / "dwnet.onnx", meta=metadata("segmenter", "dwnet", classes=["A", "B", "C"]))
    with pytest.raises(NetworkFileError, match=r"dwnet\.onnx predicts A, B, C; .*baseline\.onnx predicts Red"):
        load_networks(mixed)
    twice = write_models(tmp_path / "twice")
    (twice / "other.onnx").write_bytes((twice / "flow_refinement.onnx").read_bytes())
    with pytest.raises(NetworkFileError, match="both refine the flow"):
        load_networks(twice)
    with pytest.raises(ValueError, match="found the methods none; baseline must be among them"):
        Networks({}, None)
