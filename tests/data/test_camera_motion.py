"""Synthetic neighbours: the flow is exact (closed form, and warping restores the still), with the size and sign of a
drive."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dwnet.data.camera_motion import Appearance, CameraMotion, SynthesizedNeighbour, _invert, _pixel_grid

HEIGHT, WIDTH = 96, 128
PLAIN = CameraMotion(appearance=None)


def waves(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth still whose grey values change by up to 20 levels per pixel, so that displacements are detected."""
    y, x = np.mgrid[:height, :width].astype(float)
    planes = [np.sin(2 * np.pi * x / 40), np.sin(2 * np.pi * y / 40), np.cos(2 * np.pi * (x + y) / 56)]
    return np.rint(127.5 + 120 * np.stack(planes, axis=2)).astype(np.uint8)


def warped(image: NDArray[np.uint8], flow_px: NDArray[np.float32]) -> NDArray[np.float64]:
    """neighbour(x + flow(x)) in float64, bilinear, positions clamped to the image."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = np.clip(x + flow_px[0], 0, width - 1), np.clip(y + flow_px[1], 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    pixels = image.astype(float)
    upper = pixels[top, left] * (1 - right_share) + pixels[top, left + 1] * right_share
    lower = pixels[top + 1, left] * (1 - right_share) + pixels[top + 1, left + 1] * right_share
    return upper * (1 - lower_share) + lower * lower_share


def draws(count: int, motion: CameraMotion = PLAIN) -> list[SynthesizedNeighbour]:
    still = waves(HEIGHT, WIDTH)
    return [motion.sample(np.random.default_rng([7, i]), still) for i in range(count)]


def test_inversion_of_an_affine_map_is_its_closed_form() -> None:
    """g(y) = y + A y + b has the inverse (I + A)^-1 (x - b)."""
    a = np.array([[0.12, -0.05], [0.03, -0.15]])
    b = np.array([2.5, -1.25])
    height, width, coarse_height, coarse_width = 64, 80, 16, 20
    grid = _pixel_grid(height, width)
    fine = grid @ a.T + b
    coarse_grid = (_pixel_grid(coarse_height, coarse_width) + 0.5) * 4 - 0.5
    coarse = coarse_grid @ a.T + b
    flow, change = _invert(coarse.astype(np.float32), fine.astype(np.float32), grid)
    expected = (grid - b) @ np.linalg.inv(np.eye(2) + a).T - grid
    end = grid + expected
    inner = ((end > 0) & (end < (width - 1, height - 1))).all(2)  # elsewhere the map is clamped
    inner[:6] = inner[-6:] = inner[:, :6] = inner[:, -6:] = False  # the coarse grid ends before the border
    assert inner.mean() > 0.5
    error = np.linalg.norm(flow - expected, axis=2)
    assert error[inner].max() < 0.02  # positions may be rounded to 1/32 px, times a slope of 0.15
    assert np.all(error[inner] <= change[inner] + 5e-3), "the change does not bound the error"


def test_warping_the_neighbour_gives_the_still_where_visible() -> None:
    still = waves(HEIGHT, WIDTH)
    for made in draws(60):
        error = np.abs(warped(made.image, made.flow_px) - still)[made.visible]
        # The error comes from rounding, cubic rendering and bilinear warping. A flow error of 0.2 px is 4 levels.
        assert error.mean() < 0.8
        assert np.percentile(error, 99.9) < 4
        unmoved = np.abs(made.image.astype(float) - still)[made.visible]
        assert unmoved.mean() > 3 * error.mean(), "the still hardly moved: the test would show nothing"


def test_visible_flow_ends_inside_and_most_of_the_still_is_visible() -> None:
    made = draws(80)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for one in made:
        assert one.image.shape == (HEIGHT, WIDTH, 3)
        assert one.image.dtype == np.uint8
        assert one.flow_px.dtype == np.float32
        assert one.visible.dtype == bool
        end_x, end_y = (x + one.flow_px[0])[one.visible], (y + one.flow_px[1])[one.visible]
        assert end_x.min() >= 0
        assert end_x.max() <= WIDTH - 1
        assert end_y.min() >= 0
        assert end_y.max() <= HEIGHT - 1
    assert np.mean([one.visible.mean() for one in made]) > 0.8


def test_border_shows_reflected_content_never_black() -> None:
    still = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    for i in range(20):
        assert np.all(PLAIN.sample(np.random.default_rng(i), still).image == 200)


def test_magnitudes_are_those_asked_for_and_grow_with_the_offset() -> None:
    made = draws(240)
    per_frame = np.array([np.hypot(*one.flow_px).mean() / abs(one.offset) for one in made]) * 480 / WIDTH
    assert 2.1 < per_frame.mean() < 2.9  # 2.5 px per raw frame at a width of 480 pixels
    assert np.percentile(per_frame, 5) > 0.6
    assert np.percentile(per_frame, 95) < 6.5
    by_distance = [
        np.mean([np.hypot(*one.flow_px).mean() for one in made if abs(one.offset) == distance])
        for distance in range(1, 6)
    ]
    assert by_distance[0] < by_distance[2] < by_distance[4]
    half = CameraMotion(appearance=None, flow_px_per_frame=1.25)
    slower = np.mean([np.hypot(*one.flow_px).mean() / abs(one.offset) for one in draws(240, half)]) * 480 / WIDTH
    assert 1.05 < slower < 1.45


def test_offsets_are_uniform_signed_and_never_zero() -> None:
    offsets = [one.offset for one in draws(300)]
    counts = {offset: offsets.count(offset) for offset in range(-5, 6)}
    assert counts.pop(0) == 0
    assert sum(counts.values()) == 300
    assert all(12 <= count <= 55 for count in counts.values())
    assert {one.offset for one in draws(40, CameraMotion(appearance=None, max_offset=1))} == {-1, 1}


def test_the_scene_expands_ahead_and_shrinks_behind() -> None:
    def divergence(one: SynthesizedNeighbour) -> float:
        return float(np.gradient(one.flow_px[0], axis=1).mean() + np.gradient(one.flow_px[1], axis=0).mean())

    agree = [np.sign(divergence(one)) == np.sign(one.offset) for one in draws(200)]
    assert np.mean(agree) > 0.9


def test_same_generator_same_neighbour_whatever_the_threads() -> None:
    still = waves(HEIGHT, WIDTH)
    kept = still.copy()
    before = cv2.getNumThreads()
    try:
        results = []
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            results.append(CameraMotion().sample(np.random.default_rng(11), still))
    finally:
        cv2.setNumThreads(before)
    first, second = results
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.flow_px, second.flow_px)
    assert np.array_equal(first.visible, second.visible)
    assert first.offset == second.offset
    assert np.array_equal(still, kept), "the still was changed"
    other = CameraMotion().sample(np.random.default_rng(12), still)
    assert not np.array_equal(first.flow_px, other.flow_px)


def test_appearance_changes_colours_but_not_the_motion() -> None:
    still = waves(HEIGHT, WIDTH)
    plain = PLAIN.sample(np.random.default_rng(3), still)
    changed = CameraMotion().sample(np.random.default_rng(3), still)
    assert np.array_equal(plain.flow_px, changed.flow_px)
    difference = np.abs(plain.image.astype(float) - changed.image).mean()
    assert 1 < difference < 40


def test_appearance_off_is_almost_nothing_and_its_noise_has_the_deviation_asked_for() -> None:
    off = Appearance(gain=0, white_balance=0, gamma=0, noise=0, sharpness=0, jpeg_quality=(100, 100))
    still = waves(HEIGHT, WIDTH)
    assert (
        np.abs(off.change(np.random.default_rng(0), still).astype(float) - still).mean() < 1.5
    )  # JPEG's coarse colour
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    noisy = Appearance(gain=0, white_balance=0, gamma=0, noise=8, sharpness=0, jpeg_quality=(100, 100))
    deviations = [noisy.change(np.random.default_rng(i), grey).astype(float).mean(axis=2).std() for i in range(40)]
    # The deviation is drawn from 0..8, independently per channel. The mean of three channels has at most 8 / sqrt(3).
    assert max(deviations) < 5.2
    assert max(deviations) > 3.5
    brighter = Appearance(gain=0.2, white_balance=0, gamma=0, noise=0, sharpness=0)
    means = [brighter.change(np.random.default_rng(i), grey).mean() for i in range(60)]
    assert 128 * np.exp(-0.2) - 1 <= min(means) < 115
    assert 142 < max(means) <= 128 * np.exp(0.2) + 1


def test_larger_images_move_proportionally() -> None:
    small = PLAIN.sample(np.random.default_rng(4), waves(96, 128))
    large = PLAIN.sample(np.random.default_rng(4), waves(192, 256))
    assert np.hypot(*large.flow_px).mean() == pytest.approx(2 * np.hypot(*small.flow_px).mean(), rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_offset": 0}, "max_offset: found 0"),
        ({"max_regions": -1}, "max_regions: found -1"),
        ({"flow_px_per_frame": -1.0}, "flow_px_per_frame: found -1.0"),
        ({"turn": float("nan")}, "turn: found nan"),
        ({"tolerance_px": 0.0}, "tolerance_px: found 0.0"),
    ],
)
def test_bad_motions_are_one_clear_error(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraMotion(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": -0.1}, "gain: found -0.1"),
        ({"noise": -1.0}, "noise: found -1.0"),
        ({"sharpness": 1.5}, "sharpness: found 1.5"),
        ({"jpeg_quality": (0, 90)}, r"jpeg_quality: found \(0, 90\)"),
        ({"jpeg_quality": (90, 80)}, "jpeg_quality: found"),
    ],
)
def test_bad_appearances_are_one_clear_error(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Appearance(**options)


@pytest.mark.parametrize(
    "still", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3), np.float32), np.zeros((8, 40, 3), np.uint8)]
)
def test_a_still_of_another_kind_is_refused(still: NDArray) -> None:
    with pytest.raises(ValueError, match="still: found shape"):
        CameraMotion().sample(np.random.default_rng(0), still)
