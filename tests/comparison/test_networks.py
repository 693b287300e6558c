"""Loading a folder of networks."""

from pathlib import Path

import pytest

from dwnet.comparison import (
    Networks,
    load_networks,
)
from dwnet.core.class_files import read_class_file
from dwnet.deploy.adopt import adopt
from dwnet.deploy.runtime import NetworkFileError
from tests.exported import (
    metadata,
    write_models,
    write_segmenter,
)
from tests.foreign import class_file, colour_network


def test_folder_of_networks(models: Path, tmp_path: Path) -> None:
    found = load_networks(models, threads=1)
    assert list(found.segmenters) == ["baseline", "static_warp", "dwnet"]
    assert found.flow_refinement is not None
    with pytest.raises(NetworkFileError, match=r"no \.onnx file in"):
        load_networks(tmp_path)
    mixed = write_models(tmp_path / "mixed")
    write_segmenter(mixed / "dwnet.onnx", meta=metadata("segmenter", "dwnet", classes=["A", "B", "C"]))
    with pytest.raises(NetworkFileError, match=r"dwnet\.onnx predicts A, B, C; .*baseline\.onnx predicts Red"):
        load_networks(mixed)
    twice = write_models(tmp_path / "twice")
    (twice / "other.onnx").write_bytes((twice / "flow_refinement.onnx").read_bytes())
    with pytest.raises(NetworkFileError, match="both refine the flow"):
        load_networks(twice)
    with pytest.raises(ValueError, match="found no network; a comparison needs one or more"):
        Networks({}, None)
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "a.onnx").write_bytes((models / "flow_refinement.onnx").read_bytes())
    with pytest.raises(NetworkFileError, match=r"no network in .*flows labels frames"):
        load_networks(flows)


def test_names_of_networks(tmp_path: Path) -> None:
    """The method, if one file has it; else the names of the files. The first stands in for a missing baseline."""
    folder = write_segmenter(tmp_path / "mine.onnx", "dwnet").parent
    (folder / "._mine.onnx").write_bytes(b"written by macOS")
    only = load_networks(folder, threads=1)
    assert (list(only.segmenters), only.baseline) == (["dwnet"], "dwnet")
    write_segmenter(folder / "again.onnx", "dwnet")
    write_segmenter(folder / "other.onnx", "static_warp")
    found = load_networks(folder, threads=1)
    assert list(found.segmenters) == ["static_warp", "again", "mine"]
    assert found.baseline == "static_warp"
    # A file that is called like another file's method: all names are those of files.
    write_segmenter(folder / "static_warp.onnx", "dwnet")
    assert list(load_networks(folder, threads=1).segmenters) == ["static_warp", "again", "mine", "other"]


def test_adopted_networks_beside_exported_ones(tmp_path: Path) -> None:
    write_segmenter(tmp_path / "dwnet.onnx", "dwnet")
    path = colour_network(tmp_path / "theirs.onnx", stride=4)
    adopt(path, read_class_file(class_file(tmp_path / "c.json", "Red", "Green", "Blue")))
    found = load_networks(tmp_path, threads=1)
    assert list(found.segmenters) == ["dwnet", "theirs"]
    assert [network.info.method for network in found.segmenters.values()] == ["dwnet", "adopted"]
