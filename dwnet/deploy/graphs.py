"""Graphs to export: each method's inference as one module with tensor inputs, and example inputs for it."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from dwnet.deploy.network_info import INTERFACES, Kind
from dwnet.method.flow_refinement import STRIDE as REFINEMENT_STRIDE
from dwnet.method.flow_refinement import FlowRefinement, centre_tap
from dwnet.method.training import KeyframeMethod, Method, StaticWarpMethod
from dwnet.ops.resize import resize
from dwnet.segmentation import Segmenter
from dwnet.segmentation.pspnet import adaptive_average_pool


class ExportGraph(nn.Module):
    """A network to export. Its inputs and outputs are those of its kind.

    Args:
        stride: image pixels per pixel of the feature map.
        multiple: image sides are multiples of it.
        channels: channels of the feature map that enters the classifier.
    """

    kind: ClassVar[Kind]
    separate_sizes: ClassVar[tuple[str, ...]] = ()
    """Inputs whose batch and size are independent of the other inputs'."""

    def __init__(self, *, stride: int, multiple: int, channels: int) -> None:
        super().__init__()
        self.stride, self.multiple, self.channels = stride, multiple, channels

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return INTERFACES[self.kind][0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return INTERFACES[self.kind][1]


class PerFrameGraph(ExportGraph):
    """`image` (N, 3, H, W) RGB 0..1 to `logits` (N, K, H, W)."""

    kind = "segmenter"

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__(stride=segmenter.stride, multiple=segmenter.multiple, channels=segmenter.channels)
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        logits = self.segmenter.classify(self.segmenter.features(image))
        return resize(logits, (image.shape[-2], image.shape[-1]))


class StaticWarpGraph(ExportGraph):
    """`image`, `previous_features` (N, C, H/s, W/s) and `flow` (N, 2, H, W) px to `logits` and new `features`."""

    kind = "static_warp"

    def __init__(self, method: StaticWarpMethod) -> None:
        segmenter = method.segmenter
        super().__init__(stride=segmenter.stride, multiple=segmenter.multiple, channels=segmenter.channels)
        self.network = method.network

    def forward(self, image: Tensor, previous_features: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        features = self.network.segmenter.features(image)
        logits = self.network.fuse(features, previous_features, flow)
        return resize(logits, (image.shape[-2], image.shape[-1])), features


class KeyframeGraph(ExportGraph):
    """`image` to `key_logits` and `features`; `key_features` (N, C, H/s, W/s) and `flow` (N, 2, H, W) px to `logits`.

    These are two graphs in one file, which share the classifier. Their batch and image sizes are independent.
    `dwnet.deploy.runtime` separates them.
    """

    kind = "keyframe"
    separate_sizes = ("image",)

    def __init__(self, method: KeyframeMethod) -> None:
        segmenter = method.segmenter
        super().__init__(stride=segmenter.stride, multiple=segmenter.multiple, channels=segmenter.channels)
        self.network = method.network

    def forward(self, image: Tensor, key_features: Tensor, flow: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        segmenter = self.network.segmenter
        features = segmenter.features(image)
        key_logits = resize(segmenter.classify(features), (image.shape[-2], image.shape[-1]))
        logits = resize(self.network.classify(key_features, flow), (flow.shape[-2], flow.shape[-1]))
        return logits, key_logits, features


class RefinementGraph(ExportGraph):
    """`frame`, `neighbour` (N, 3, H, W), `flow` (N, 2, H, W) px to `refined_flow` (N, 2, H/8, W/8), the centre tap.

    Args:
        refinement: the flow refinement module.
        channels: channels of the segmenter's feature map.
    """

    kind = "flow_refinement"

    def __init__(self, refinement: FlowRefinement, *, channels: int) -> None:
        super().__init__(stride=REFINEMENT_STRIDE, multiple=REFINEMENT_STRIDE, channels=channels)
        self.refinement = refinement

    def forward(self, frame: Tensor, neighbour: Tensor, flow: Tensor) -> Tensor:  # noqa: D102
        return centre_tap(self.refinement(frame, neighbour, flow))


class ExportablePool(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling for exports with dynamic sizes; that of PyTorch freezes the traced size."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        size = self.output_size
        rows, columns = (size, size) if not isinstance(size, tuple) else size
        if rows is None or rows == 1 or rows != columns:
            return super().forward(x)
        return adaptive_average_pool(x, rows)


def exportable_pool(module: nn.Module) -> nn.Module | None:
    """Returns the `ExportablePool` for a module that pools as `nn.AdaptiveAvgPool2d` does; None for any other."""
    if isinstance(module, nn.AdaptiveAvgPool2d) and type(module).forward is nn.AdaptiveAvgPool2d.forward:
        return ExportablePool(module.output_size)
    return None


Inputs = tuple[Tensor, ...]


def method_graph(method: Method) -> tuple[ExportGraph, list[Inputs]]:
    """Returns the graph of a method at inference, and inputs of several sizes. The first is the example to trace."""
    segmenter = method.segmenter
    height, width = 6 * segmenter.multiple, 8 * segmenter.multiple
    if isinstance(method, StaticWarpMethod | KeyframeMethod):
        sizes = ((2, height, width), (1, width, height))
        clips = [_clip_example(segmenter, (rows, columns), batch=batch) for batch, rows, columns in sizes]
        if isinstance(method, StaticWarpMethod):
            return StaticWarpGraph(method), clips
        return KeyframeGraph(method), [(smooth_noise(3, 3, width, height), *rest) for _, *rest in clips]
    other = (smooth_noise(1, 3, width + segmenter.multiple, height),)
    return PerFrameGraph(segmenter), [(smooth_noise(2, 3, height, width),), other]


def segmenter_examples(segmenter: Segmenter) -> list[Inputs]:
    """Returns inputs of two sizes for any per-frame segmenter.

    They are so large that the deepest map of another package's network has a few pixels. They differ so much that the
    comparison detects a size that is frozen into the graph.
    """
    rows = max(6, -(-128 // segmenter.multiple)) * segmenter.multiple
    return [
        (smooth_noise(2, 3, rows, rows + segmenter.multiple),),
        (smooth_noise(1, 3, 2 * rows + segmenter.multiple, rows),),
    ]


def refinement_examples() -> list[Inputs]:
    """Returns inputs of two sizes for `RefinementGraph`."""
    return [_pair_example((64, 96), batch=2), _pair_example((104, 72), batch=1)]


def smooth_noise(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Returns coarse blobs with fine noise (B, C, H, W) of 0..1, equal in every call.

    A network's logits vary between their pixels, so that a comparison of labels is meaningful.
    """
    generator = torch.Generator().manual_seed(height * 1000 + width)
    blobs = torch.rand(batch, channels, max(height // 16, 1), max(width // 16, 1), generator=generator)
    grain = torch.rand(batch, channels, height, width, generator=generator)
    return 0.85 * resize(blobs, (height, width)) + 0.15 * grain


def _clip_example(segmenter: Segmenter, size: tuple[int, int], *, batch: int) -> Inputs:
    with torch.no_grad():
        previous = segmenter.features(smooth_noise(batch, 3, *size).flip(-1))
    return smooth_noise(batch, 3, *size), previous, (smooth_noise(batch, 2, *size) - 0.5) * size[1]


def _pair_example(size: tuple[int, int], *, batch: int) -> Inputs:
    frame = smooth_noise(batch, 3, *size)
    return frame, frame.roll(3, dims=-1), (smooth_noise(batch, 2, *size) - 0.5) * 16
