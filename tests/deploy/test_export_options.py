"""Exports for one size or scale, networks that cannot be exported, and files that an export must not replace."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from dwnet.adapters import CallableAdapter
from dwnet.cli.main import main
from dwnet.core.classes import made_up_classes
from dwnet.core.errors import DWNetError
from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
from dwnet.deploy.export import ExportError, export_checkpoint, export_segmenter
from dwnet.deploy.layout import resize_image, resize_maps
from dwnet.deploy.network_info import NetworkFileError
from dwnet.deploy.runtime import load
from dwnet.method.specs import BaselineSpec
from dwnet.segmentation import NetworkSpec
from tests.exported import metadata, write_segmenter

CLASSES = made_up_classes(4)


class Strided(nn.Module):
    """A network of stride 4 whose `branch` decides on the values of the image, which no exporter follows."""

    def __init__(self, *, branch: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4, stride=4)
        self.last = nn.Conv2d(8, 4, 1)
        self.branch = branch

    def forward(self, image: Tensor) -> Tensor:
        if self.branch and image.mean() > 0.4:
            image = image * 2
        return torch.tanh(self.first(image))


def adapter(*, branch: bool = False) -> CallableAdapter:
    torch.manual_seed(0)
    model = Strided(branch=branch)
    return CallableAdapter(model, features=lambda net, x: net(x), classify=lambda net, x: net.last(x)).eval()


def test_one_size(tmp_path: Path) -> None:
    """The graph has one image of one size. Frames are resized to it, and the scores back. Wrappers are taken off."""
    segmenter = adapter()
    export_segmenter(torch.compile(nn.DataParallel(segmenter)), tmp_path / "a.onnx", classes=CLASSES, size=(48, 64))
    graph = onnx.load(tmp_path / "a.onnx").graph
    assert [side.dim_value for side in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 48, 64]
    network = load(tmp_path / "a.onnx", threads=1)
    assert network.info.size == (48, 64)
    frame = np.random.default_rng(0).integers(0, 256, (90, 100, 3), np.uint8)
    for image in (frame, frame[:48, :64]):
        tensor = torch.from_numpy(resize_image(image, (48, 64))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = resize_maps(segmenter(tensor)[0].numpy(), (image.shape[0], image.shape[1]))
        np.testing.assert_allclose(network.logits(image), expected, atol=5e-3)
    with pytest.raises(DWNetError, match=r"--size is 50 x 64 \(height x width\); allowed are multiples of 4 pixels"):
        export_segmenter(segmenter, tmp_path / "b.onnx", classes=CLASSES, size=(50, 64))


def test_scale_travels_with_the_file(tmp_path: Path) -> None:
    write_segmenter(tmp_path / "a.onnx", meta=metadata("segmenter", "dwnet", scale=1.5))
    network = load(tmp_path / "a.onnx", threads=1)
    assert network.info.scale == 1.5
    frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    larger = resize_image(frame, (45, 60)).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_allclose(network.logits(frame), resize_maps(larger, (30, 40)), atol=1e-5)
    write_segmenter(tmp_path / "a.onnx", meta=metadata("segmenter", "dwnet", scale=9.0))
    with pytest.raises(NetworkFileError, match=r"a\.onnx: 'dwnet' metadata: scale: .* less than or equal to 4"):
        load(tmp_path / "a.onnx")


@pytest.mark.slow
def test_what_the_exporter_raises_becomes_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"a\.onnx: the network cannot be exported: \w+: ") as raised:
        export_segmenter(adapter(branch=True), tmp_path / "a.onnx", classes=CLASSES)
    assert str(raised.value).endswith("; it may be possible for one fixed size (--size)")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_any_exception_of_the_exporter_becomes_an_export_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        try:
            raise KeyError("window")
        except KeyError as error:
            raise RuntimeError("Failed to export\nwith a long report") from error

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ExportError) as raised:
        export_segmenter(adapter(), tmp_path / "a.onnx", classes=CLASSES)
    assert str(raised.value) == (
        f"{tmp_path / 'a.onnx'}: the network cannot be exported: KeyError: 'window'; it may be possible for one fixed "
        "size (--size)"
    )
    assert not list(tmp_path.iterdir())


def test_a_module_that_is_no_segmenter(tmp_path: Path) -> None:
    with pytest.raises(DWNetError, match=r"Strided is no Segmenter; allowed is one, or `dwnet.adapters.adapt\(network"):
        export_segmenter(nn.DataParallel(Strided()), tmp_path / "b.onnx", classes=CLASSES)


def saved(path: Path) -> Checkpoint:
    network = NetworkSpec(backbone="mobilenetv2", channels=8)
    method = BaselineSpec().build(network.build(4), load_flow=False)
    Checkpoint(network, BaselineSpec(), CLASSES, method.state_dict()).save(path)
    return load_checkpoint(path)


def test_an_export_never_replaces_its_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "last.pt"
    checkpoint = saved(path)
    before = path.read_bytes()
    (tmp_path / "link.pt").symlink_to(path)
    for target in (path, tmp_path / "link.pt", tmp_path / "folder" / ".." / "last.pt"):
        with pytest.raises(DWNetError, match=r"is the checkpoint itself; allowed is another file"):
            export_checkpoint(checkpoint, target)
        with pytest.raises(DWNetError, match=r"is the checkpoint itself; allowed is another file"):
            export_checkpoint(checkpoint, tmp_path / "a.onnx", refinement=target)
    with pytest.raises(DWNetError, match=r"other\.pt: the file to write is called 'other\.pt'; allowed are names that"):
        export_checkpoint(checkpoint, tmp_path / "other.pt")
    assert main(["export", str(path), "--output", str(path)]) == 1
    assert capsys.readouterr().err == f"dwnet: {path} is the checkpoint itself; allowed is another file\n"
    assert path.read_bytes() == before
    # A checkpoint that is called .onnx: the default name of the export is its own.
    path.rename(tmp_path / "odd.onnx")
    assert main(["export", str(tmp_path / "odd.onnx")]) == 1
    assert "is the checkpoint itself" in capsys.readouterr().err
    assert (tmp_path / "odd.onnx").read_bytes() == before


def test_size_and_scale_out_of_range(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "last.pt")
    for changes, message in (
        ({"size": (64, 65)}, r"--size is 64 x 65 \(height x width\); allowed are multiples of 16 pixels"),
        ({"scale": 5.0}, "--scale is 5; allowed are 0.125 to 4"),
        ({"scale": 1.5, "size": (64, 64)}, "--size and --scale: allowed is one of them"),
    ):
        with pytest.raises(DWNetError, match=message):
            export_checkpoint(checkpoint, tmp_path / "a.onnx", **changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_exports_one_size(tmp_path: Path) -> None:
    saved(tmp_path / "last.pt")
    assert main(["export", str(tmp_path / "last.pt"), "--size", "64", "96"]) == 0
    model = onnx.load(tmp_path / "last.onnx")
    entry = json.loads(next(item.value for item in model.metadata_props if item.key == "dwnet"))
    assert entry["size"] == [64, 96]
    assert load(tmp_path / "last.onnx", threads=1).labels(np.zeros((50, 70, 3), np.uint8)).shape == (50, 70)
