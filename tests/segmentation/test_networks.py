"""With each network and each of the paper's backbones DWNet trains every parameter, and its export is equal to the
baseline's at any size. By default only the export of DWNet is tested, with a small backbone. The comparisons with the
baseline's export, also with the paper's backbones, are marked slow.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dwnet.core.classes import ClassSet
from dwnet.deploy.checkpoint import Checkpoint
from dwnet.deploy.export import export_checkpoint
from dwnet.method.specs import MethodName, method_spec
from dwnet.method.training import DWNetMethod
from dwnet.segmentation import SEGMENTERS, NetworkSpec, Segmenter
from dwnet.segmentation.danet import ChannelAttention, PositionAttention

CLASSES = ClassSet("tiny", ("Red", "Green", "Blue"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)))
BACKBONES = ("mobilenetv2", "resnet50", "resnet101")
ALL = [(segmenter, backbone) for segmenter in SEGMENTERS for backbone in BACKBONES]
METHODS: tuple[MethodName, ...] = ("baseline", "dwnet")
SMALL = [(segmenter, "resnet10t") for segmenter in SEGMENTERS if segmenter != "pspnet"]  # tests/deploy/test_export.py


def smooth(batch: int, height: int, width: int, seed: int) -> torch.Tensor:
    noise = torch.rand(batch, 3, height // 8 + 2, width // 8 + 2, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(height, width), mode="bilinear")


@pytest.mark.parametrize(("segmenter", "backbone"), ALL)
def test_dwnet_trains_every_parameter(segmenter: str, backbone: str) -> None:
    torch.manual_seed(0)
    network = NetworkSpec(segmenter=segmenter, backbone=backbone, channels=32).build(len(CLASSES))
    method = method_spec("dwnet").build(network).train()
    assert isinstance(method, DWNetMethod)
    frame = smooth(1, 64, 64, seed=1)
    labels = torch.randint(0, 3, (1, 64, 64), generator=torch.Generator().manual_seed(2))
    losses = method({"frame": frame, "neighbour": frame.roll(2, dims=-1), "labels": labels})
    assert {"segmentation", "auxiliary", "feature", "prediction", "total"} <= set(losses)
    losses["total"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for part in (network.get_submodule("backbone"), network.get_submodule("auxiliary"), method.network.fg_conv):
        assert part is not None
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    with torch.no_grad():
        assert frame.shape[-1] // network.eval().features(frame).shape[-1] == network.stride


def settled(spec: NetworkSpec) -> Segmenter:
    """Returns a network as after training: fitting batch statistics, different logits, and attention with an effect."""
    torch.manual_seed(0)
    segmenter = spec.build(len(CLASSES))
    for module in segmenter.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, PositionAttention | ChannelAttention):
            nn.init.constant_(module.gamma, 0.5)
    classifier = segmenter.get_submodule("classifier")
    assert isinstance(classifier, nn.Conv2d)
    nn.init.normal_(classifier.weight)
    with torch.no_grad():
        segmenter.train().features_and_auxiliary(smooth(2, 96, 128, seed=3))
    return segmenter.eval()


def exported(path: Path, name: MethodName, spec: NetworkSpec, network: Segmenter) -> onnx.GraphProto:
    """Exports a method with a network and checks what its file contains; returns the graph."""
    method = method_spec(name).build(network)
    checkpoint = Checkpoint(network=spec, method=method.spec, classes=CLASSES, weights=method.state_dict())
    (report,) = export_checkpoint(checkpoint, path)  # itself compares with PyTorch at two sizes
    assert report.exact_difference <= 1e-4
    graph = onnx.load(path).graph
    assert report.nodes == len(graph.node) > 30
    names = " ".join([t.name for t in graph.initializer] + [n.name for n in graph.node])
    assert not [part for part in ("refine", "fg_conv", "flow", "auxiliary") if part in names.lower()]
    assert "GridSample" not in {node.op_type for node in graph.node}
    needed = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("auxiliary"))
    assert 0.95 * needed < report.parameters < 1.05 * needed
    return graph


def assert_gives_the_networks_scores(path: Path, network: Segmenter) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in ((1, 64, 96), (2, 112, 48)):
        image = smooth(*size, seed=4)
        (found,) = session.run(None, {"image": image.numpy()})
        with torch.no_grad():
            expected = network(image).numpy()
        assert found.shape == (size[0], 3, *size[1:])
        # Half-precision weights, which export bounds alike; what it compares to 1e-4 is the graph before them.
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(("segmenter", "backbone"), SMALL)
def test_dwnets_export_gives_the_networks_scores_at_any_size(segmenter: str, backbone: str, tmp_path: Path) -> None:
    spec = NetworkSpec(segmenter=segmenter, backbone=backbone, channels=32)
    network = settled(spec)
    exported(tmp_path / "dwnet.onnx", "dwnet", spec, network)
    assert_gives_the_networks_scores(tmp_path / "dwnet.onnx", network)


@pytest.mark.slow
@pytest.mark.parametrize(("segmenter", "backbone"), SMALL + ALL)
def test_dwnets_export_is_the_baselines_at_any_size(segmenter: str, backbone: str, tmp_path: Path) -> None:
    spec = NetworkSpec(segmenter=segmenter, backbone=backbone, channels=32)
    network = settled(spec)
    baseline, dwnet = (exported(tmp_path / f"{name}.onnx", name, spec, network) for name in METHODS)
    assert [node.SerializeToString() for node in dwnet.node] == [node.SerializeToString() for node in baseline.node]
    stored = [{t.name: (list(t.dims), t.data_type, t.raw_data) for t in g.initializer} for g in (baseline, dwnet)]
    assert stored[0] == stored[1]
    assert dwnet.input == baseline.input
    assert dwnet.output == baseline.output
    assert_gives_the_networks_scores(tmp_path / "dwnet.onnx", network)
    for path in tmp_path.glob("*.onnx"):
        path.unlink()  # hundreds of MB
