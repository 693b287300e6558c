"""Training modules, one for each method. A module returns the losses of a batch, and the logits that it predicts."""

from dwnet.core.errors import DWNetError
from dwnet.flow.registry import build_flow
from dwnet.method.specs import BaselineSpec, MethodName, MethodSpec
from dwnet.method.training.base import Losses, Method, ReferenceMethod
from dwnet.method.training.baseline import BaselineMethod
from dwnet.method.training.dwnet import DWNetMethod
from dwnet.method.training.keyframe import KeyframeMethod
from dwnet.method.training.static_warp import StaticWarpMethod
from dwnet.segmentation import Segmenter

__all__ = [
    "METHODS",
    "BaselineMethod",
    "DWNetMethod",
    "KeyframeMethod",
    "Losses",
    "Method",
    "ReferenceMethod",
    "StaticWarpMethod",
    "build_method",
]

METHODS: dict[MethodName, type[Method]] = {
    "baseline": BaselineMethod,
    "static_warp": StaticWarpMethod,
    "keyframe": KeyframeMethod,
    "dwnet": DWNetMethod,
}
"""Training module of each method, by name."""


def build_method(spec: MethodSpec, segmenter: Segmenter, *, load_flow: bool = True) -> Method:
    """Returns the training module of a method around a segmenter; `spec.build` does the same.

    Args:
        spec: the method and its switches.
        segmenter: any `Segmenter`.
        load_flow: False leaves the flow estimator's weights random, if a checkpoint is loaded afterwards.

    Raises:
        DWNetError: for another segmenter, a name or number that is not allowed, or flow weights that cannot be loaded.
    """
    if not isinstance(segmenter, Segmenter):
        raise DWNetError(
            f"segmenter is {type(segmenter).__name__}; allowed is a Segmenter: `dwnet.adapt` makes one of another "
            "package's network"
        )
    if spec.class_weights and len(spec.class_weights) != segmenter.num_classes:
        raise DWNetError(
            f"class_weights has {len(spec.class_weights)} numbers, allowed are {segmenter.num_classes}, one per class"
        )
    method = METHODS[spec.name](segmenter, spec)
    if not isinstance(spec, BaselineSpec):
        weights = spec.flow_weights if load_flow else "none"
        method.flow = build_flow(spec.flow, weights=weights, trainable=spec.train_flow)
    return method
