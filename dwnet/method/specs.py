"""Method specifications: one frozen dataclass for each method, with only the fields that this method uses.

The module does not import PyTorch; `build` does.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from dwnet.core.errors import DWNetError
from dwnet.method.reference import PER_FRAME, PREVIOUS_FRAME, ReferencePolicy, key_frames

if TYPE_CHECKING:
    from dwnet.method.training import Method
    from dwnet.segmentation import Segmenter

MethodName = Literal["baseline", "static_warp", "keyframe", "dwnet"]
FusionName = Literal["weighted_sum", "concatenation", "per_channel"]
Space = Literal["logits", "softmax"]

FLOW_WEIGHTS = ("warping_weight", "smoothness_weight", "flow_supervision_weight")
"""Fields of `DWNetSpec`: weights of the losses on the refined flow. None of these losses is in the paper."""


@dataclass(frozen=True)
class _Spec:
    """Fields and behaviour of all methods."""

    needs_neighbour: ClassVar[bool] = False
    """Whether training needs "neighbour" in its batches, and the flow to it."""
    needs_neighbour_to_predict: ClassVar[bool] = False
    """Whether inference needs an earlier frame and the flow to it."""

    name: MethodName
    """baseline: single frames. static_warp: the warped features of the previous frame are fused into the frame's.
    keyframe: the warped features of the last key frame replace the frame's. dwnet: the paper's method."""
    auxiliary_weight: float = 0.4
    """Weight of the auxiliary heads' cross-entropy."""
    class_weights: tuple[float, ...] = ()
    """Weight of each class's pixels in the cross-entropy, in the order of the classes. Empty: every weight is 1, as in
    the paper."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", tuple(self.class_weights))  # JSON holds a list
        own = type(self).__dataclass_fields__["name"].default
        if self.name != own:
            raise DWNetError(f"name is {self.name!r}, allowed in {type(self).__name__} is {own!r}")
        self._require_not_negative("auxiliary_weight")
        if not all(0 < weight < math.inf for weight in self.class_weights):
            raise DWNetError(f"class_weights is {self.class_weights}, allowed are numbers above 0")

    @property
    def reference_policy(self) -> ReferencePolicy:
        """Which earlier frames the method uses at inference."""
        return PER_FRAME

    def build(self, segmenter: "Segmenter", *, load_flow: bool = True) -> "Method":
        """Returns the training module of this method around a segmenter.

        Args:
            segmenter: any `Segmenter`.
            load_flow: False leaves the flow estimator's weights random, if a checkpoint is loaded afterwards.

        Raises:
            DWNetError: for a name or number that is not allowed, or flow weights that cannot be loaded.
        """
        from dwnet.method.training import build_method

        return build_method(self, segmenter, load_flow=load_flow)  # type: ignore[arg-type]

    def _require_not_negative(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) < math.inf:
                raise DWNetError(f"{name} is {getattr(self, name)}, allowed are numbers of at least 0")


@dataclass(frozen=True)
class _FlowSpec(_Spec):
    """Fields of the methods that use a flow."""

    needs_neighbour: ClassVar[bool] = True

    flow: str = "dis"
    """Flow estimator: dis, farneback, raft_small, raft_large or flownet2. identity is a control: no motion."""
    flow_weights: str = "published"
    """Weights of the flow estimator: published, none (random), or a file. dis has no weights."""
    train_flow: bool = False
    """Train the flow estimator jointly, with a separate learning rate (section 4.1.3). dis has no parameters."""


@dataclass(frozen=True)
class BaselineSpec(_Spec):
    """The baseline: cross-entropy on single frames."""

    name: MethodName = "baseline"
    neighbour_weight: float = 0.0
    """Weight of the cross-entropy of the neighbour, whose labels are the frame's, carried by the exact flow. A control
    (`train/ablation/tables.py`): it uses the neighbour without a consistency loss. It needs data with an exact flow. 0
    trains on single frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_not_negative("neighbour_weight")


@dataclass(frozen=True)
class StaticWarpSpec(_FlowSpec):
    """Static warp at inference (Table 4): the warped features of the previous frame are fused into F_t.

    "Static warp" has two meanings in the paper. In Tables 1 to 3 it is `DWNetSpec` without FG-Conv: the features warped
    by Eq. 1 enter the consistency losses, in training only. In Table 4 it is this method, at inference too.
    """

    needs_neighbour_to_predict: ClassVar[bool] = True

    name: MethodName = "static_warp"
    fusion: FusionName = "weighted_sum"
    """How F_t and the warped features are fused (Table 4). per_channel is NetWarp's fusion."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion not in get_args(FusionName):
            raise DWNetError(f"unknown fusion {self.fusion!r}, allowed are {', '.join(get_args(FusionName))}")

    @property
    def reference_policy(self) -> ReferencePolicy:  # noqa: D102
        return PREVIOUS_FRAME


@dataclass(frozen=True)
class KeyframeSpec(_FlowSpec):
    """Key-frame propagation (Deep Feature Flow; Table 7's DFF)."""

    needs_neighbour_to_predict: ClassVar[bool] = True

    name: MethodName = "keyframe"
    key_interval: int = 5
    """Every n-th frame is a key frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.key_interval < 1:
            raise DWNetError(f"key_interval is {self.key_interval}, allowed are whole numbers of at least 1")

    @property
    def reference_policy(self) -> ReferencePolicy:  # noqa: D102
        return key_frames(self.key_interval)


@dataclass(frozen=True)
class DWNetSpec(_FlowSpec):
    """The paper's method with its switches (Tables 1 to 3)."""

    name: MethodName = "dwnet"
    fg_conv: bool = True
    """Flow-guided convolution; False is the plain warp of Eq. 1."""
    kernel_size: int = 3
    """s of the FG-Conv, an odd number. Table 2 compares 1, 3 and 5."""
    refinement: bool = True
    """Flow refinement module (FRM)."""
    residual_refinement: bool = True
    """True adds the FRM's output to the coarse flow. False uses the output as the refined flow."""
    feature_weight: float = 10.0
    """lambda_1 of Eq. 8; 0 leaves the feature consistency loss out."""
    prediction_weight: float = 0.1
    """lambda_2 of Eq. 8; 0 leaves the prediction consistency loss out."""
    occlusion_mask: bool = True
    """Weight Eq. 6 by Eq. 7 (Table 3)."""
    delta: float = 2.0
    """delta of Eq. 7 (Table 3)."""
    prediction_space: Space = "logits"
    """What Eq. 6 compares: logits or softmax."""
    detach_target: bool = False
    """Stop the gradient of the consistency losses into F_t and P_t."""
    warping_weight: float = 0.0
    """Weight of the difference between the frame and the neighbour's image warped by the refined flow
    (`losses.warping_error`). It needs the FRM. The paper has no such loss."""
    smoothness_weight: float = 0.0
    """Weight of the refined flow's differences between adjacent pixels, except at edges in the image
    (`losses.edge_aware_smoothness`). It needs the FRM. The paper has no such loss."""
    flow_supervision_weight: float = 0.0
    """Weight of the refined flow's end-point error. It needs the FRM, and data with an exact flow: the street, or
    synthetic neighbours. The paper has no such loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prediction_space not in get_args(Space):
            allowed = ", ".join(get_args(Space))
            raise DWNetError(f"unknown prediction space {self.prediction_space!r}, allowed are {allowed}")
        self._require_not_negative("feature_weight", "prediction_weight", *FLOW_WEIGHTS)
        if not 0 < self.delta < math.inf:
            raise DWNetError(f"delta is {self.delta}, allowed are numbers above 0")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise DWNetError(f"kernel_size is {self.kernel_size}, allowed are odd numbers from 1")
        # A switch that is off makes these fields idle. Another value than the default would be dropped in silence.
        for switch, field in IDLE_WITHOUT.items():
            if not getattr(self, switch) and getattr(self, field) != _default(field):
                raise DWNetError(
                    f"{field} is {getattr(self, field)}, but {switch} is off and does not use it; allowed is "
                    f"{_default(field)}"
                )
        if not self.refinement:
            for name in FLOW_WEIGHTS:
                if getattr(self, name) > 0:
                    raise DWNetError(f"{name} is {getattr(self, name)}, allowed without refinement is 0")
        if self.train_flow and not self.trains_refinement:
            raise DWNetError(
                "train_flow: feature_weight and prediction_weight are 0, and no other loss reaches the flow"
            )

    @property
    def trains_fg_conv(self) -> bool:
        """Whether a loss trains the FG-Conv. Only the consistency losses do."""
        return self.feature_weight > 0 or self.prediction_weight > 0

    @property
    def trains_refinement(self) -> bool:
        """Whether a loss trains the refined flow: a consistency loss, or a loss on the flow."""
        return self.trains_fg_conv or any(getattr(self, name) > 0 for name in FLOW_WEIGHTS)


IDLE_WITHOUT = {"fg_conv": "kernel_size", "occlusion_mask": "delta", "refinement": "residual_refinement"}
"""Switches of `DWNetSpec`, and the field that only the switched part uses."""

MethodSpec = BaselineSpec | StaticWarpSpec | KeyframeSpec | DWNetSpec
"""The specification of any method."""

SPECS: dict[MethodName, type[MethodSpec]] = {
    "baseline": BaselineSpec,
    "static_warp": StaticWarpSpec,
    "keyframe": KeyframeSpec,
    "dwnet": DWNetSpec,
}
"""Specification class of each method, by name."""


def field_names(name: MethodName) -> tuple[str, ...]:
    """Returns the names of the fields of a method's specification, including `name`."""
    return tuple(field.name for field in dataclasses.fields(SPECS[name]))


def methods_with(field: str) -> tuple[MethodName, ...]:
    """Returns the methods whose specification has a field."""
    return tuple(name for name in SPECS if field in field_names(name))


def method_spec(name: str = "dwnet", **fields: Any) -> MethodSpec:
    """Returns the specification of a method by its name.

    Args:
        name: a key of `SPECS`.
        fields: values of that specification's fields. A field of another method is dropped if it holds its default.

    Raises:
        DWNetError: for an unknown method or field, a value that is not allowed, or a field of another method whose
            value is not its default.
    """
    own, foreign = _split(name, fields)
    changed = [field for field, value in foreign.items() if value != _default(field)]
    if changed:
        found = ", ".join(f"{field} = {fields[field]!r} (of {', '.join(methods_with(field))})" for field in changed)
        raise DWNetError(f"method {name!r} does not use {found}; allowed are {_allowed(name)}")
    return SPECS[name](**own)  # type: ignore[index]


def from_dict(values: Mapping[str, Any], *, ignore_unused: bool = False) -> MethodSpec:
    """Returns the specification that a JSON object or a checkpoint stores.

    Args:
        values: "name" (default dwnet) and any of the fields. Missing fields get their defaults.
        ignore_unused: True drops fields of other methods, and of parts that are switched off, whatever their values.
            Checkpoints of format 1 may store the fields of all methods, with values that their method does not use.

    Raises:
        DWNetError: under the same conditions as `method_spec`.
    """
    fields = dict(values)
    name = fields.pop("name", "dwnet")
    if not ignore_unused:
        return method_spec(name, **fields)
    own = _split(name, fields)[0]
    idle = {field for switch, field in IDLE_WITHOUT.items() if not own.get(switch, True)}
    return method_spec(name, **{field: value for field, value in own.items() if field not in idle})


def to_method(spec: MethodSpec, name: str) -> MethodSpec:
    """Returns the specification of another method, with the fields that both methods have."""
    kept = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.name != "name"}
    return method_spec(name, **_split(name, kept)[0])


def _split(name: str, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits fields into those of a method and those of the other methods."""
    if name not in SPECS:
        raise DWNetError(f"unknown method {name!r}{_nearest(name, SPECS)}, allowed are {', '.join(SPECS)}")
    own = {field: value for field, value in fields.items() if field in field_names(name)}
    foreign = {field: value for field, value in fields.items() if field not in own}
    unknown = [field for field in foreign if not methods_with(field)]
    if unknown:
        raise DWNetError(
            f"method {name!r}: unknown field {unknown[0]!r}{_nearest(unknown[0], field_names(name))}, "
            f"allowed are {_allowed(name)}"
        )
    return own, foreign


def _default(field: str) -> Any:
    return SPECS[methods_with(field)[0]].__dataclass_fields__[field].default


def _allowed(name: str) -> str:
    return ", ".join(field_names(name))  # type: ignore[arg-type]


def _nearest(word: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
