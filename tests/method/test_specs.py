"""Specifications: each method has its own fields, checks them, and reads the dictionaries of old checkpoints."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

import dwnet.method
from dwnet.core.errors import DWNetError
from dwnet.method.reference import PER_FRAME, ReferencePolicy
from dwnet.method.specs import (
    SPECS,
    BaselineSpec,
    DWNetSpec,
    KeyframeSpec,
    MethodName,
    MethodSpec,
    StaticWarpSpec,
    from_dict,
    method_spec,
    methods_with,
    to_method,
)
from dwnet.method.training import METHODS
from tests.references import TinySegmenter

# `MethodSpec` of checkpoints and recipes of format 1: all fields of all methods, in their order, with their defaults.
FORMAT_1: dict[str, Any] = {
    "name": "dwnet",
    "flow": "dis",
    "flow_weights": "published",
    "train_flow": False,
    "fusion": "weighted_sum",
    "key_interval": 5,
    "fg_conv": True,
    "kernel_size": 3,
    "refinement": True,
    "residual_refinement": True,
    "feature_weight": 10.0,
    "prediction_weight": 0.1,
    "occlusion_mask": True,
    "delta": 2.0,
    "prediction_space": "logits",
    "detach_target": False,
    "warping_weight": 0.0,
    "smoothness_weight": 0.0,
    "flow_supervision_weight": 0.0,
    "auxiliary_weight": 0.4,
    "class_weights": [],
}


@pytest.mark.parametrize("name", SPECS)
def test_a_dictionary_of_format_1_loads(name: MethodName) -> None:
    assert len(FORMAT_1) == 21
    spec = from_dict({**FORMAT_1, "name": name})
    assert type(spec) is SPECS[name]
    assert spec == SPECS[name]()
    later = {"neighbour_weight": 0.0}  # fields that format 1 did not have then
    assert dataclasses.asdict(spec).items() <= {**FORMAT_1, "name": name, "class_weights": (), **later}.items()
    assert from_dict(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec
    assert type(spec.build(TinySegmenter())) is METHODS[name]


def test_each_field_belongs_to_the_methods_that_use_it() -> None:
    own = {name: {field.name for field in dataclasses.fields(SPECS[name])} for name in SPECS}
    shared = {"name", "auxiliary_weight", "class_weights"}
    flow = shared | {"flow", "flow_weights", "train_flow"}
    assert own["baseline"] == shared | {"neighbour_weight"}
    assert own["static_warp"] == flow | {"fusion"}
    assert own["keyframe"] == flow | {"key_interval"}
    assert own["dwnet"] == set(FORMAT_1) - {"fusion", "key_interval"}
    assert methods_with("fusion") == ("static_warp",)
    assert methods_with("flow") == ("static_warp", "keyframe", "dwnet")


def test_fields_of_other_methods_are_dropped_or_refused_by_name() -> None:
    assert method_spec("keyframe", delta=2.0, key_interval=3) == KeyframeSpec(key_interval=3)
    with pytest.raises(
        DWNetError,
        match=r"^method 'keyframe' does not use fusion = 'per_channel' \(of static_warp\), delta = 1\.0 \(of dwnet\); "
        r"allowed are name, .*, key_interval$",
    ):
        from_dict({**FORMAT_1, "name": "keyframe", "delta": 1.0, "fusion": "per_channel"})
    # In format 1 the baseline of a recipe kept the settings of dwnet, which were not used.
    old = {**FORMAT_1, "name": "baseline", "prediction_space": "softmax", "prediction_weight": 1.0}
    assert from_dict(old, ignore_unused=True) == BaselineSpec()


@pytest.mark.parametrize("ignore_unused", [False, True])
def test_unknown_names_are_refused_with_the_nearest(ignore_unused: bool) -> None:
    with pytest.raises(DWNetError, match=r"unknown method 'dwnets' \(did you mean dwnet\?\), allowed are baseline, s"):
        from_dict({"name": "dwnets"}, ignore_unused=ignore_unused)
    with pytest.raises(DWNetError, match=r"method 'dwnet': unknown field 'detla' \(did you mean delta\?\), allowed a"):
        from_dict({"detla": 1.0}, ignore_unused=ignore_unused)


def test_a_specification_has_one_name() -> None:
    with pytest.raises(DWNetError, match="name is 'baseline', allowed in DWNetSpec is 'dwnet'"):
        DWNetSpec(name="baseline")
    for name, spec in SPECS.items():
        assert spec().name == name
        assert isinstance(spec(), MethodSpec)


def test_another_method_keeps_what_both_have() -> None:
    spec = DWNetSpec(flow="raft_small", flow_weights="none", delta=1.0, class_weights=(1.0, 2.0, 3.0))
    assert to_method(spec, "keyframe") == KeyframeSpec(
        flow="raft_small", flow_weights="none", class_weights=(1.0, 2.0, 3.0)
    )
    assert to_method(spec, "baseline") == BaselineSpec(class_weights=(1.0, 2.0, 3.0))
    assert to_method(spec, "dwnet") == spec


def test_what_each_method_needs_at_inference() -> None:
    assert {name: SPECS[name]().reference_policy for name in SPECS} == {
        "baseline": PER_FRAME,
        "dwnet": PER_FRAME,
        "static_warp": ReferencePolicy(span=1),
        "keyframe": ReferencePolicy(span=4, periodic=True),
    }
    for spec in (*(SPECS[name]() for name in SPECS), KeyframeSpec(key_interval=2), StaticWarpSpec()):
        assert spec.needs_neighbour_to_predict == (spec.reference_policy.span > 0)


@pytest.mark.parametrize(
    ("policy", "warmup", "memory"),
    [
        (PER_FRAME, [0] * 7, [0] * 7),
        (ReferencePolicy(span=1), [1] * 7, [0, 1, 1, 1, 1, 1, 1]),
        (KeyframeSpec(key_interval=3).reference_policy, [0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2, 0]),
        (KeyframeSpec(key_interval=1).reference_policy, [0] * 7, [0] * 7),
    ],
)
def test_reference_policies(policy: ReferencePolicy, warmup: list[int], memory: list[int]) -> None:
    assert [policy.warmup_frames(index) for index in range(7)] == warmup
    assert [policy.memory(position) for position in range(7)] == memory


def test_specs_need_no_pytorch() -> None:
    code = "import sys; sys.modules['torch'] = None; from dwnet.method.specs import DWNetSpec; DWNetSpec()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_door_leads_to_every_name() -> None:
    assert {"DWNet", "DWNetOutput", "DWNetSpec", "FlowGuidedConv2d", "FlowRefinement"} <= set(dwnet.method.__all__)
    assert all(hasattr(dwnet.method, name) for name in dwnet.method.__all__)
