"""Exported files give PyTorch's results, also at other batch and image sizes. Their metadata describes them. The file
of a DWNet has the baseline's graph. All tests share four exports of a real network; fusions and key frames are exported
with a tiny one.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dwnet.cli.main import main
from dwnet.core.classes import ClassSet
from dwnet.core.extras import INSTALL
from dwnet.deploy import graphs, onnx_file
from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
from dwnet.deploy.export import ExportError, ExportReport, export_checkpoint
from dwnet.deploy.runtime import OnnxFlowRefinement, OnnxKeyframe, OnnxSegmenter, OnnxStaticWarp, load, load_any
from dwnet.evaluation.predictors import TorchPredictor, load_predictor
from dwnet.method.flow_refinement import centre_tap
from dwnet.method.specs import KeyframeSpec, MethodSpec, StaticWarpSpec, from_dict, method_spec
from dwnet.method.training import DWNetMethod, Method, StaticWarpMethod
from dwnet.ops.modules import replace_modules
from dwnet.ops.resize import resize
from dwnet.segmentation import NetworkSpec, pad_to_multiple
from tests.references import TinySegmenter

CLASSES = ClassSet("tiny", ("Red", "Green", "Blue"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)))
NETWORK = NetworkSpec(backbone="mobilenetv2", output_stride=16, channels=16)


@dataclass(frozen=True)
class Exported:
    """A folder with `NAME.pt` and `NAME.onnx` of each method, and with `refinement.onnx`."""

    folder: Path
    printed: str
    reports: dict[str, ExportReport]

    def method(self, name: str) -> Method:
        return load_checkpoint(self.folder / f"{name}.pt").build()


def smooth(batch: int, channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    noise = torch.rand(batch, channels, height // 8 + 2, width // 8 + 2, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(height, width), mode="bilinear")


def frame(height: int = 50, width: int = 70, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8; the sides are not multiples of the stride."""
    return (smooth(1, 3, height, width, seed)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def trained(name: str) -> Method:
    """Returns a method as after training: its parameters differ from their initial values, and batch statistics fit."""
    torch.manual_seed(0)
    method = method_spec(name).build(NETWORK.build(len(CLASSES)))
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        segmenter = method.segmenter
        classifier = segmenter.get_submodule("classifier")
        assert isinstance(classifier, nn.Conv2d)
        classifier.weight.normal_(generator=torch.Generator().manual_seed(1))
        method.train()
        torch.manual_seed(2)
        segmenter.features_and_auxiliary(smooth(2, 3, 96, 128, seed=3))
        if isinstance(method, DWNetMethod):
            refinement = method.network.refinement
            assert refinement is not None
            refinement.flow.weight.normal_(std=0.02)
            refinement(smooth(2, 3, 64, 64, 4), smooth(2, 3, 64, 64, 5), smooth(2, 2, 64, 64, 6))
        if isinstance(method, StaticWarpMethod):
            method.network.fusion.weight.fill_(1.0)
    return method.eval()


def save(method: Method, path: Path) -> Checkpoint:
    checkpoint = Checkpoint(
        network=NETWORK,
        method=method.spec,
        classes=CLASSES,
        weights=method.state_dict(),
        recipe={"name": "tiny", "epochs": 3},
        iteration=7,
        metrics={"miou_percent": 12.5},
        commit="0" * 40,
    )
    checkpoint.save(path)
    return checkpoint


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    reports = {}
    for name in ("baseline", "static_warp"):
        checkpoint = save(trained(name), folder / f"{name}.pt")
        (reports[name],) = export_checkpoint(checkpoint, folder / f"{name}.onnx")
    save(trained("dwnet"), folder / "dwnet.pt")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        arguments = ["export", str(folder / "dwnet.pt"), "--refinement", str(folder / "refinement.onnx")]
        assert main(arguments) == 0
    return Exported(folder, printed.getvalue(), reports)


def parameters(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


@pytest.mark.slow
def test_the_commands_files_and_report(exported: Exported) -> None:
    assert sorted(path.name for path in exported.folder.glob("*.onnx")) == [
        "baseline.onnx",
        "dwnet.onnx",
        "refinement.onnx",
        "static_warp.onnx",
    ]
    assert sorted(os.listdir(exported.folder)) == sorted(p.name for p in exported.folder.glob("[!.]*"))  # none hidden
    first, second = exported.printed.splitlines()
    assert first.startswith(f"{exported.folder / 'dwnet.onnx'}: ")  # the default name, beside the checkpoint
    assert "of labels agree" in first
    assert second.startswith(f"{exported.folder / 'refinement.onnx'}: ")
    assert "labels" not in second
    for name, report in exported.reports.items():
        model = onnx.load(exported.folder / f"{name}.onnx")
        assert report.bytes == (exported.folder / f"{name}.onnx").stat().st_size
        assert (report.nodes, report.parameters) == (len(model.graph.node), parameters(model))
        assert report.exact_difference <= 1e-4
        assert report.label_agreement is not None
        assert report.label_agreement >= 0.98


@pytest.mark.slow
def test_dwnets_export_is_exactly_the_baselines_graph(exported: Exported) -> None:
    """With the same segmenter weights, nodes, their order, their attributes and all stored numbers are equal."""
    baseline, dwnet = (onnx.load(exported.folder / f"{name}.onnx").graph for name in ("baseline", "dwnet"))
    own, theirs = exported.method("baseline").segmenter.state_dict(), exported.method("dwnet").segmenter.state_dict()
    assert all(torch.equal(own[key], theirs[key]) for key in own)
    assert [node.SerializeToString() for node in dwnet.node] == [node.SerializeToString() for node in baseline.node]
    assert len(dwnet.node) > 100
    stored = [{t.name: (list(t.dims), t.data_type, t.raw_data) for t in g.initializer} for g in (baseline, dwnet)]
    assert stored[0] == stored[1]
    assert dwnet.input == baseline.input
    assert dwnet.output == baseline.output
    assert exported.printed.split()[3] == str(len(baseline.node))


@pytest.mark.slow
def test_nothing_of_training_is_in_the_per_frame_export(exported: Exported) -> None:
    model = onnx.load(exported.folder / "dwnet.onnx")
    assert "GridSample" not in {node.op_type for node in model.graph.node}
    names = " ".join([t.name for t in model.graph.initializer] + [n.name for n in model.graph.node])
    for part in ("refine", "fg_conv", "flow", "auxiliary", "dropout"):
        assert part not in names.lower()
    assert [i.name for i in model.graph.input] == ["image"]
    segmenter = exported.method("baseline").segmenter
    needed = sum(p.numel() for name, p in segmenter.named_parameters() if not name.startswith("auxiliary"))
    # A batch norm becomes a factor and a shift. Pooling and resizing add a few constants.
    assert 0.95 * needed < parameters(model) < 1.05 * needed


@pytest.mark.slow
def test_the_static_warp_export_carries_the_warp(exported: Exported) -> None:
    ops = [node.op_type for node in onnx.load(exported.folder / "static_warp.onnx").graph.node]
    assert ops.count("GridSample") == 1


@pytest.mark.slow
def test_weights_are_stored_in_half_precision(exported: Exported) -> None:
    model = onnx.load(exported.folder / "baseline.onnx")
    halves = sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    assert halves > 0.98 * parameters(model)
    assert (exported.folder / "baseline.onnx").stat().st_size < 2.3 * parameters(model)
    assert str(exported.folder.parent) not in str(model)  # no path of this machine


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 32, 48), (3, 64, 112)])
def test_batch_height_and_width_are_dynamic(exported: Exported, size: tuple[int, int, int]) -> None:
    session = onnxruntime.InferenceSession(exported.folder / "dwnet.onnx", providers=["CPUExecutionProvider"])
    assert [isinstance(side, str) for side in session.get_inputs()[0].shape] == [True, False, True, True]
    image = smooth(size[0], 3, *size[1:], seed=11)
    (found,) = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        expected = exported.method("dwnet").segmenter(image).numpy()
    assert found.shape == (size[0], 3, *size[1:])
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.slow
def test_the_runtime_gives_pytorchs_logits_at_odd_sizes(exported: Exported) -> None:
    network = load(exported.folder / "baseline.onnx", kind="segmenter", threads=1)
    assert isinstance(network, OnnxSegmenter)
    with torch.no_grad():
        expected = exported.method("baseline").segmenter(tensor(frame()))[0].numpy()
    found = network.logits(frame())
    assert found.shape == (3, 50, 70)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.slow
def test_static_warp_over_two_frames_is_pytorchs(exported: Exported) -> None:
    network = load(exported.folder / "static_warp.onnx", kind="static_warp", threads=1)
    assert isinstance(network, OnnxStaticWarp)
    method = exported.method("static_warp")
    assert isinstance(method, StaticWarpMethod)
    first, second = frame(seed=0), frame(seed=1)
    flow = (smooth(1, 2, 50, 70, seed=2).numpy()[0] - 0.5).astype(np.float32) * 60
    found = [network.logits(first), network.logits(second, flow)]
    with torch.no_grad():
        plain = [method.segmenter(tensor(image))[0].numpy() for image in (first, second)]
        padded = [pad_to_multiple(tensor(image), 16) for image in (first, second)]
        before, now = (method.segmenter.features(image) for image in padded)
        small = method.network.fuse(now, before, pad_to_multiple(torch.from_numpy(flow)[None], 16))
        fused = resize(small, (64, 80))[0, :, :50, :70].numpy()
    assert np.abs(found[0] - plain[0]).max() < 0.02 * np.abs(plain[0]).max()
    assert np.abs(found[1] - fused).max() < 0.02 * np.abs(fused).max()
    assert np.abs(fused - plain[1]).max() > 0.1 * np.abs(plain[1]).max()  # flow and previous features have an effect
    network.reset()
    np.testing.assert_allclose(network.logits(first), found[0], atol=1e-4)


class TinyCheckpoint(Checkpoint):
    """A checkpoint around `TinySegmenter`."""

    def build(self) -> Method:
        method = self.method.build(TinySegmenter(channels=8, stride=16))
        method.load_state_dict(self.weights)
        return method.eval()


def tiny_checkpoint(spec: MethodSpec) -> TinyCheckpoint:
    """Returns a checkpoint whose parameters all differ from their initial values."""
    torch.manual_seed(0)
    method = spec.build(TinySegmenter(channels=8, stride=16))
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        body = method.segmenter.get_submodule("body").weight
        body.sub_(body.mean(dim=(1, 2, 3), keepdim=True))  # uniform grey has zero features, and all classes occur
        method.segmenter.get_submodule("classifier").bias.zero_()
    return TinyCheckpoint(NETWORK, spec, CLASSES, method.state_dict(), recipe={"method": asdict(spec)}, commit="0" * 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        method_spec("static_warp", fusion="concatenation"),
        method_spec("static_warp", fusion="per_channel"),
        method_spec("keyframe", key_interval=3),
    ],
    ids=["concatenation", "per_channel", "keyframe"],
)
def test_networks_with_a_memory_run_a_clip_as_pytorch_does(spec: MethodSpec, tmp_path: Path) -> None:
    """The clip starts with a frame without predecessor and has a reset. Its sides are not multiples of the stride."""
    checkpoint = tiny_checkpoint(spec)
    (report,) = export_checkpoint(checkpoint, tmp_path / "clip.onnx")
    assert report.exact_difference <= 1e-4
    network = load(tmp_path / "clip.onnx", threads=1)
    assert isinstance(network, OnnxStaticWarp if spec.name == "static_warp" else OnnxKeyframe)
    stored = network.info.recipe["method"]
    assert isinstance(spec, StaticWarpSpec | KeyframeSpec)
    assert from_dict(stored) == spec
    assert network.info.key_interval == (spec.key_interval if isinstance(spec, KeyframeSpec) else 1)
    model = onnx.load(tmp_path / "clip.onnx")
    assert [node.op_type for node in model.graph.node].count("GridSample") == 1
    expected = TorchPredictor(checkpoint.build())
    images = [frame(seed=seed) for seed in range(7)]
    for index, image in enumerate(images):
        if index == 5:
            network.reset()
            expected.reset()
        assert network.reference is expected.reference
        flow = None
        if network.reference is not None:
            flow = (smooth(1, 2, 50, 70, seed=index).numpy()[0] - 0.5).astype(np.float32) * 60
        assert (flow is None) == (
            index in ((0, 5) if isinstance(spec, StaticWarpSpec) or spec.key_interval > 4 else (0, 3, 5))
        )
        found, wanted = network.labels(image, flow), expected.labels(image, flow)
        assert (found == wanted).mean() > 0.97, index
        assert len(np.unique(wanted)) == 3
        own = checkpoint.build().segmenter(tensor(image)).argmax(dim=1)[0].numpy()
        as_plain = spec.name == "keyframe" and flow is None
        assert bool((wanted == own).mean() > 0.99) == as_plain, index


def test_a_flow_estimator_is_rebuilt_from_the_checkpoint_alone(tmp_path: Path) -> None:
    """The estimator needs neither the weight file it was trained from nor a download."""
    torch.manual_seed(0)
    trained_spec = method_spec("dwnet", flow="raft_small", flow_weights="none", train_flow=True)
    method = trained_spec.build(NETWORK.build(len(CLASSES.classes)))
    spec = replace(trained_spec, flow_weights=str(tmp_path / "gone.pth"))
    Checkpoint(NETWORK, spec, CLASSES, method.state_dict()).save(tmp_path / "last.pt")
    built = load_checkpoint(tmp_path / "last.pt").build()
    assert built.spec == spec
    assert built.flow is not None
    assert method.flow is not None
    own, theirs = built.flow.state_dict(), method.flow.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    # Only the segmenter is exported, without parameters of the flow.
    assert not any("flow" in name for name, _ in graphs.PerFrameGraph(built.segmenter).named_parameters())


@pytest.mark.slow
def test_the_refinement_export_is_the_centre_tap_in_pixels_of_the_frame(exported: Exported) -> None:
    network = load(exported.folder / "refinement.onnx", kind="flow_refinement", threads=1)
    assert isinstance(network, OnnxFlowRefinement)
    method = exported.method("dwnet")
    assert isinstance(method, DWNetMethod)
    assert method.network.refinement is not None
    first, second = frame(56, 72, seed=0), frame(56, 72, seed=1)
    flow = (smooth(1, 2, 56, 72, seed=2) - 0.5) * 40
    with torch.no_grad():
        refined = centre_tap(method.network.refinement(tensor(first), tensor(second), flow))
        expected = resize(refined * 8, (56, 72))[0].numpy()
    found = network.refine(first, second, flow[0].numpy())
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    coarse = resize(resize(flow, (7, 9)), (56, 72))[0].numpy()
    assert np.abs(found - coarse).max() > 0.1  # the flow is refined


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "kind", "method", "stride"),
    [
        ("baseline", "segmenter", "baseline", 16),
        ("dwnet", "segmenter", "dwnet", 16),
        ("static_warp", "static_warp", "static_warp", 16),
        ("refinement", "flow_refinement", "dwnet", 8),
    ],
)
def test_every_file_says_what_it_is(exported: Exported, file: str, kind: str, method: str, stride: int) -> None:
    info = load_any(exported.folder / f"{file}.onnx", threads=1).info
    assert (info.kind, info.method, info.stride, info.channels) == (kind, method, stride, 16)
    assert (info.classes, info.palette) == (CLASSES.classes, CLASSES.palette)
    assert info.recipe == {"name": "tiny", "epochs": 3}
    assert info.metrics == {"miou_percent": 12.5}
    assert info.commit == "0" * 40
    entries = {entry.key: entry.value for entry in onnx.load(exported.folder / f"{file}.onnx").metadata_props}
    assert set(entries) == {"dwnet"}
    entry = json.loads(entries["dwnet"])
    assert entry["normalisation"] == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "inside_graph": True,
    }
    assert entry["network"]["backbone"] == "mobilenetv2"
    assert entry["iteration"] == 7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline", "static_warp"])
def test_checkpoint_and_export_predict_the_same_labels(exported: Exported, name: str) -> None:
    torch_predictor, classes = load_predictor(exported.folder / f"{name}.pt")
    onnx_predictor, same = load_predictor(exported.folder / f"{name}.onnx")
    assert classes == same == CLASSES.classes
    flow = np.full((2, 50, 70), 4, np.float32)
    for predictors_flow, seed in ((None, 0), (flow, 1), (None, 2)):
        if predictors_flow is None:
            torch_predictor.reset()
            onnx_predictor.reset()
        labels = [p.labels(frame(seed=seed), predictors_flow) for p in (torch_predictor, onnx_predictor)]
        assert (labels[0] == labels[1]).mean() > 0.97
        assert labels[0].shape == (50, 70)


@pytest.mark.slow
def test_a_refinement_network_labels_nothing(exported: Exported) -> None:
    with pytest.raises(ValueError, match="flow_refinement network, allowed are segmenter, static_warp and keyframe"):
        load_predictor(exported.folder / "refinement.onnx")


def negated(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: -value if "classifier" in name else value for name, value in weights.items()}


def not_a_number(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * float("nan") if "classifier" in name else value for name, value in weights.items()}


@pytest.mark.slow
@pytest.mark.parametrize("change", [negated, not_a_number])
def test_a_graph_that_differs_is_not_written(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
) -> None:
    checkpoint = load_checkpoint(exported.folder / "baseline.pt")
    wrong = replace(checkpoint, weights=change(checkpoint.weights))
    monkeypatch.setattr(onnx_file, "trace", lambda *_, **__: onnx.load(exported.folder / "baseline.onnx"))
    target = tmp_path / "model.onnx"
    target.write_text("old")
    with pytest.raises(
        ExportError, match=r"model\.onnx: the ONNX graph differs from PyTorch by .* of the largest output"
    ):
        export_checkpoint(wrong, target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.onnx"]


@pytest.mark.slow
def test_refinement_of_a_method_without_one_is_refused_before_anything_is_written(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.onnx"
    arguments = ["--output", str(output), "--refinement", str(tmp_path / "b.onnx")]
    assert main(["export", str(exported.folder / "baseline.pt"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error == "dwnet: --refinement: method 'baseline' has no flow refinement module; only dwnet has\n"
    assert os.listdir(tmp_path) == []


def test_the_command_says_what_is_wrong_with_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name, reason in (("missing.pt", "no such file"), ("text.pt", "not a readable PyTorch file")):
        assert main(["export", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"dwnet: checkpoint {tmp_path / name}: {reason}")
        assert len(error.splitlines()) == 1
    assert os.listdir(tmp_path) == ["text.pt"]


@pytest.mark.parametrize("missing", ["onnxscript", "torch"])
def test_the_command_says_what_to_install(missing: str, tmp_path: Path) -> None:
    save(trained("baseline"), tmp_path / "last.pt")
    code = f"""
import sys
sys.modules[{missing!r}] = None  # importing it fails
from dwnet.cli.main import main
sys.exit(main(["export", {str(tmp_path / "last.pt")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr == f"dwnet: this needs {missing}, which is not installed: {INSTALL}\n"
    assert os.listdir(tmp_path) == ["last.pt"]


class MaximumPool(nn.AdaptiveAvgPool2d):
    """A subclass with another result."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.adaptive_max_pool2d(x, self.output_size)


def test_only_pytorchs_own_pooling_is_exchanged() -> None:
    pools = [nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d((2, 3)), MaximumPool(2)]
    network = nn.Sequential(*pools)
    x = torch.rand(1, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    expected = [pool(x) for pool in pools]
    replace_modules(network, graphs.exportable_pool)
    assert [type(pool) for pool in network] == [graphs.ExportablePool, graphs.ExportablePool, MaximumPool]
    for pool, wanted in zip(network, expected, strict=True):
        assert torch.allclose(pool(x), wanted, atol=1e-6)
