"""Every flow with usable weights finds known motion, with the correct sign, axis and direction. Arrays and tensors give
the same flow. Wrong images are refused.

DIS needs no weights. A network is tested here if DWNET_RAFT_SMALL, DWNET_RAFT_LARGE or DWNET_FLOWNET2 names its weight
file. Its arithmetic is tested without weights in test_raft.py and test_flownet2.py.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

import dwnet.flow
from dwnet.cli import options
from dwnet.flow import FLOW_NAMES, dis_flow, farneback_flow, flow_function
from dwnet.flow.dis import DIS_PRESETS
from dwnet.flow.dis_estimator import DISFlow
from dwnet.flow.registry import FLOWS, FlowName, build_flow
from dwnet.ops.warp import warp
from dwnet.street import StreetScene

HEIGHT, WIDTH = 96, 128

WEIGHTS = {"raft_small": "DWNET_RAFT_SMALL", "raft_large": "DWNET_RAFT_LARGE", "flownet2": "DWNET_FLOWNET2"}
"""The environment variable that names a network's weight file."""


def textured(seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 with details of several pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (HEIGHT // 6, WIDTH // 6, 3), dtype=np.uint8)
    fine = rng.integers(0, 256, (HEIGHT // 3, WIDTH // 3, 3), dtype=np.uint8)
    parts = [cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for part in (coarse, fine)]
    return cv2.addWeighted(parts[0], 0.6, parts[1], 0.4, 0)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(params=FLOW_NAMES)
def usable(request: pytest.FixtureRequest) -> str:
    """The name of a flow that has weights here."""
    name: str = request.param
    if name in WEIGHTS and WEIGHTS[name] not in os.environ:
        pytest.skip(f"{WEIGHTS[name]} names no weight file of {name}")
    return name


def usable_weights(name: str) -> str:
    return os.environ[WEIGHTS[name]] if name in WEIGHTS else "none"


@pytest.mark.parametrize(("dx", "dy"), [(5, 0), (0, -4), (-6, 3)])
def test_every_flow_finds_a_known_shift(usable: str, dx: int, dy: int) -> None:
    frame = textured()
    neighbour = np.roll(frame, (dy, dx), axis=(0, 1))
    flow = flow_function(usable, weights=usable_weights(usable))(frame, neighbour)
    assert flow.shape == (2, HEIGHT, WIDTH)
    assert flow.dtype == np.float32
    assert np.median(flow[:, 16:-16, 16:-16], axis=(1, 2)) == pytest.approx([dx, dy], abs=0.5)


def test_every_flow_finds_the_streets_exact_motion(usable: str) -> None:
    """For visible pixels the median error is below 0.6 px, and the mean error is far below that of zero flow.

    Farneback loses the fast road near the camera, so its mean error is larger.
    """
    scene = StreetScene(5, width=240, height=160, look="overcast")
    frame, neighbour = scene.render(60).image, scene.render(59).image
    exact, visible = scene.flow(60, -1)
    flow = flow_function(usable, weights=usable_weights(usable))(frame, neighbour)
    error_px, length_px = (np.hypot(*vectors)[visible] for vectors in (flow - exact, exact))
    assert length_px.mean() > 3
    assert np.median(error_px) < 0.6
    assert error_px.mean() < (0.5 if usable == "farneback" else 0.4) * length_px.mean()


def test_no_torch_for_the_flow_that_needs_none() -> None:
    code = (
        "import sys; from dwnet.flow import flow_function; flow_function('dis'); flow_function('farneback'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_door_gives_every_name_it_lists() -> None:
    assert set(dwnet.flow.__all__) <= set(dir(dwnet.flow))
    for name in dwnet.flow.__all__:
        assert getattr(dwnet.flow, name) is not None


def test_a_networks_flow_of_arrays_is_that_of_tensors(tmp_path: Path) -> None:
    """Also from several threads at once, although torchvision's RAFT stores results in attributes of its module."""
    torch.manual_seed(0)
    weights = tmp_path / "raft.pth"
    torch.save(build_flow("raft_small", weights="none").get_submodule("network").state_dict(), weights)
    estimator, function = (build("raft_small", weights=weights) for build in (build_flow, flow_function))
    pairs = [(textured(seed), textured(seed + 1)) for seed in range(2)]
    expected = [estimator(tensor(frame), tensor(neighbour))[0].numpy() for frame, neighbour in pairs]
    with ThreadPoolExecutor(2) as pool:
        for flow, wanted in zip(pool.map(lambda two: function(*two), pairs), expected, strict=True):
            np.testing.assert_allclose(flow, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"frame is float64 .*; flow needs two uint8 frames"):
        function(textured().astype(np.float64), textured())
    with pytest.raises(ValueError, match=r"neighbour is uint8 of shape \(95, 128, 3\)"):
        function(textured(), textured()[1:])


@pytest.mark.parametrize("preset", list(DIS_PRESETS))
@pytest.mark.parametrize(("dx", "dy"), [(5, 0), (0, -4), (-6, 3)])
def test_a_known_shift_is_found_with_its_sign(preset: str, dx: int, dy: int) -> None:
    frame = textured()
    neighbour = np.roll(frame, (dy, dx), axis=(0, 1))  # what was at (x, y) is at (x + dx, y + dy)
    flow = dis_flow(frame, neighbour, preset=preset)
    assert flow.shape == (2, HEIGHT, WIDTH)
    assert flow.dtype == np.float32
    middle = flow[:, 16:-16, 16:-16]
    assert np.median(middle, axis=(1, 2)) == pytest.approx([dx, dy], abs=0.25)


def test_it_is_the_flow_that_the_warp_wants() -> None:
    frame = textured()
    neighbour = np.roll(frame, (3, -5), axis=(0, 1))
    flow = DISFlow()(tensor(frame), tensor(neighbour))
    warped, _ = warp(tensor(neighbour), flow)
    inner = (..., slice(16, -16), slice(16, -16))
    error = (warped - tensor(frame))[inner].abs().mean()
    assert error < 0.25 * (tensor(neighbour) - tensor(frame))[inner].abs().mean()
    wrong, _ = warp(tensor(neighbour), -flow)
    assert error < 0.25 * (wrong - tensor(frame))[inner].abs().mean()


def test_no_motion_no_flow() -> None:
    assert np.abs(dis_flow(textured(), textured())).max() < 1e-3


def test_tensors_in_a_batch_get_what_arrays_get() -> None:
    frames, neighbours = [textured(0), textured(1)], [np.roll(textured(0), 2, 1), np.roll(textured(1), 3, 0)]
    flow = build_flow("dis")(torch.cat([tensor(f) for f in frames]), torch.cat([tensor(n) for n in neighbours]))
    assert flow.dtype == torch.float32
    assert not flow.requires_grad
    for b in range(2):
        np.testing.assert_array_equal(flow[b].numpy(), dis_flow(frames[b], neighbours[b]))


def test_no_parameters_and_no_gradient() -> None:
    frame = tensor(textured()).requires_grad_()
    estimator = DISFlow(preset="ultrafast")
    assert not list(estimator.parameters())
    assert not estimator(frame, frame).requires_grad


def test_colour_is_read_as_rgb_and_grey_is_taken_as_it_is() -> None:
    frame, neighbour = textured(), np.roll(textured(), 2, axis=1)
    grey = [np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8) for image in (frame, neighbour)]
    difference = np.abs(dis_flow(frame, neighbour) - dis_flow(*grey))
    assert np.median(difference) < 0.02  # OpenCV rounds its grey a little differently


def test_threads_do_not_disturb_each_other() -> None:
    pairs = [(textured(s), np.roll(textured(s), s + 1, axis=1)) for s in range(4)]
    expected = [dis_flow(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        for flow, alone in zip(pool.map(lambda pair: dis_flow(*pair), pairs), expected, strict=True):
            np.testing.assert_array_equal(flow, alone)


def test_bad_frames_are_refused_before_opencv_sees_them() -> None:
    frame = textured()
    with pytest.raises(ValueError, match=r"frame is float64 .* needs two uint8 frames"):
        dis_flow(frame.astype(np.float64), frame)
    with pytest.raises(ValueError, match=r"neighbour is uint8 of shape \(95, 128, 3\)"):
        dis_flow(frame, frame[1:])
    with pytest.raises(ValueError, match="at least 24 x 24"):
        dis_flow(frame[:23], frame[:23])
    assert dis_flow(frame[:24, :24], frame[:24, :24]).shape == (2, 24, 24)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown DIS preset 'best', allowed are ultrafast, fast, medium"):
        DISFlow(preset="best")
    with pytest.raises(ValueError, match="unknown DIS preset 'best', allowed are ultrafast, fast, medium"):
        dis_flow(textured(), textured(), preset="best")
    for build in (build_flow, flow_function):
        with pytest.raises(
            ValueError, match="unknown flow 'pwcnet', allowed are dis, farneback, raft_small, raft_large, flownet2"
        ):
            build("pwcnet")
    assert tuple(FLOWS) == FLOW_NAMES == get_args(FlowName) == get_args(options.FlowName)


def test_dis_takes_no_weights_and_is_not_trained() -> None:
    for weights in ("published", "none"):
        assert isinstance(build_flow("dis", weights=weights), DISFlow)
    for build in (build_flow, flow_function):
        with pytest.raises(
            ValueError,
            match=r"flow 'dis' cannot load weights 'raft.pth': it has no parameters; flows with parameters are raft",
        ):
            build("dis", weights="raft.pth")
    with pytest.raises(ValueError, match="flow 'dis' cannot be trained: it has no parameters"):
        build_flow("dis", trainable=True)


def test_farneback_is_another_flow_with_the_same_interface() -> None:
    frame, neighbour = textured(), np.roll(textured(), (1, 4), axis=(0, 1))
    flow = farneback_flow(frame, neighbour)
    assert (flow.shape, flow.dtype) == ((2, HEIGHT, WIDTH), np.float32)
    np.testing.assert_array_equal(flow, flow_function("farneback")(frame, neighbour))
    np.testing.assert_array_equal(flow, build_flow("farneback")(tensor(frame), tensor(neighbour))[0].numpy())
    assert np.abs(flow - dis_flow(frame, neighbour)).mean() > 0.01
    with pytest.raises(ValueError, match=r"neighbour is uint8 of shape \(95, 128, 3\); Farnebäck flow needs two uint8"):
        farneback_flow(frame, frame[1:])
    with pytest.raises(ValueError, match="flow 'farneback' cannot be trained: it has no parameters"):
        build_flow("farneback", trainable=True)


def test_a_tiny_frame_leaves_the_next_flow_as_it_is() -> None:
    """OpenCV's estimator adapts its patches to a tiny frame and keeps them. `dis_flow` is not affected."""
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8), (0, 0), 2)
    neighbour = np.roll(frame, (1, 3), axis=(0, 1))
    before = dis_flow(frame, neighbour)
    for side in (24, 32, 40, 48, 64):
        dis_flow(frame[:side, :side].copy(), neighbour[:side, :side].copy())
        assert np.array_equal(dis_flow(frame, neighbour), before), side
