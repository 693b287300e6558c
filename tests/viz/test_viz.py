"""Pictures: hand-computed colours, the published colour wheel in a loop, and readable captions."""

import math

import numpy as np
import pytest
import torch

from dwnet.core.classes import IGNORE_LABEL
from dwnet.viz import caption, colour_labels, flow_legend, flow_to_rgb, grid, overlay

PALETTE = ((255, 0, 0), (0, 200, 0), (10, 20, 30))
RNG = np.random.default_rng(0)


def image(height: int = 24, width: int = 32) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------------- overlays


@pytest.mark.parametrize("opacity", [0, 0.3, 0.5, 1])
def test_overlay_blends_and_leaves_ignored_pixels_alone(opacity: float) -> None:
    picture, labels = image(), RNG.choice([0, 1, 2, IGNORE_LABEL], (24, 32)).astype(np.uint8)
    before = picture.copy()
    out = overlay(picture, labels, PALETTE, opacity)
    for y, x in np.ndindex(24, 32):
        if labels[y, x] == IGNORE_LABEL:
            np.testing.assert_array_equal(out[y, x], picture[y, x])
        else:
            expected = (1 - opacity) * picture[y, x].astype(float) + opacity * np.array(PALETTE[labels[y, x]])
            assert np.abs(out[y, x] - expected).max() <= 0.51
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(picture, before)


def test_smaller_labels_are_resized_by_the_nearest_pixel_centre() -> None:
    labels = RNG.integers(0, 3, (6, 8))
    out = overlay(image(), labels, PALETTE, 1)
    np.testing.assert_array_equal(out, np.array(PALETTE, np.uint8)[np.kron(labels, np.ones((4, 4), int))])
    # Five columns from two: their centres lie at 0.2, 0.6, 1.0, 1.4, 1.8 of the two cells.
    out = overlay(image(1, 5), np.array([[0, 1]]), PALETTE, 1)
    assert [tuple(pixel) for pixel in out[0, [0, 1, 3, 4]].tolist()] == [PALETTE[0]] * 2 + [PALETTE[1]] * 2


def test_colour_labels_takes_tensors_and_any_palette() -> None:
    labels = torch.tensor([[0, 2], [IGNORE_LABEL, 1]])
    expected = [[PALETTE[0], PALETTE[2]], [(0, 0, 0), PALETTE[1]]]
    assert colour_labels(labels, PALETTE).tolist() == np.array(expected).tolist()
    assert colour_labels(labels, np.array(PALETTE), ignore=(9, 8, 7))[1, 0].tolist() == [9, 8, 7]
    assert not colour_labels(np.full((2, 2), IGNORE_LABEL), PALETTE).any()


# -------------------------------------------------------------------------------------------------------------- flow


def published_colour(u: float, v: float) -> np.ndarray:
    """Baker et al.'s colour of one vector, |(u, v)| in units of the largest, by the steps of their paper."""
    wheel = []
    for steps, channels in ((15, (None, "+", 0)), (6, ("-", None, 0)), (4, (0, None, "+")), (11, (0, "-", None)),
                            (13, ("+", 0, None)), (6, (None, 0, "-"))):  # fmt: skip
        for step in range(steps):
            rising = math.floor(255 * step / steps)
            values = {None: 255, "+": rising, "-": 255 - rising, 0: 0}
            wheel.append([values[channel] for channel in channels])
    radius = math.hypot(u, v)
    position = (math.atan2(-v, -u) / math.pi + 1) / 2 * (len(wheel) - 1)
    first = math.floor(position)
    second = (first + 1) % len(wheel)
    share = position - first
    colour = ((1 - share) * np.array(wheel[first]) + share * np.array(wheel[second])) / 255
    colour = 1 - radius * (1 - colour) if radius <= 1 else colour * 0.75
    return np.floor(255 * colour)


def test_flow_colours_are_the_published_ones() -> None:
    flow = RNG.uniform(-6, 6, (2, 20, 30)).astype(np.float32)
    out = flow_to_rgb(flow, max_px=5)
    for y, x in np.ndindex(20, 30):
        expected = published_colour(flow[0, y, x] / 5, flow[1, y, x] / 5)
        assert np.abs(out[y, x] - expected).max() <= 3, (flow[:, y, x], out[y, x], expected)


@pytest.mark.parametrize(
    ("vector", "colour"),
    [((4, 0), (255, 0, 0)), ((0, 0), (255, 255, 255)), ((2, 0), (255, 127, 127)), ((8, 0), (191, 0, 0))],
)
def test_flow_by_hand(vector: tuple[float, float], colour: tuple[int, int, int]) -> None:
    flow = np.array(vector, float)[:, None, None]
    assert np.abs(flow_to_rgb(flow, max_px=4)[0, 0].astype(int) - colour).max() <= 1


def test_hue_is_direction_and_saturation_is_magnitude() -> None:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    flow = np.stack((np.cos(angles), np.sin(angles)))[:, None]
    strong = flow_to_rgb(flow, max_px=1).astype(float)
    assert len({tuple(pixel) for pixel in strong[0].tolist()}) == 16
    weak = flow_to_rgb(flow / 4, max_px=1).astype(float)
    assert np.abs((255 - weak) * 4 - (255 - strong)).max() <= 5


def test_flow_scale_and_unknown_motion() -> None:
    flow = RNG.normal(0, 3, (2, 9, 9)).astype(np.float32)
    largest = float(np.hypot(*flow).max())
    np.testing.assert_array_equal(flow_to_rgb(flow), flow_to_rgb(flow, max_px=largest))
    np.testing.assert_array_equal(flow_to_rgb(flow), flow_to_rgb(torch.from_numpy(flow)))
    assert (flow_to_rgb(np.zeros((2, 4, 4))) == 255).all()
    flow[0, 2, 3] = np.nan
    before = flow.copy()
    out = flow_to_rgb(flow)
    assert not out[2, 3].any()
    assert out[0, 0].any()
    np.testing.assert_array_equal(flow, before)


def test_flow_legend_shows_the_colour_of_each_direction() -> None:
    disc = flow_legend(65)
    assert disc.shape == (65, 65, 3)
    assert (disc[0, 0] == 255).all()
    assert (disc[32, 32] == 255).all()
    for dx, dy in ((32, 0), (-20, 0), (0, 25), (-12, -12)):
        expected = flow_to_rgb(np.array([dx, dy], float)[:, None, None], max_px=32)[0, 0]
        assert np.abs(disc[32 + dy, 32 + dx].astype(int) - expected).max() <= 1


# ------------------------------------------------------------------------------------------------- captions and grids


def test_caption_adds_a_readable_bar() -> None:
    picture = image(60, 200)
    out = caption(picture, "DWNet 12.3 ms")
    assert out.shape == (88, 200, 3)
    np.testing.assert_array_equal(out[28:], picture)
    bar = out[:28].astype(int)
    # Light on dark, in the middle of the bar, and not touching its edges.
    assert bar.max() - bar.min() > 180
    rows = np.flatnonzero((bar > 128).any(axis=(1, 2)))
    assert rows.min() >= 3
    assert rows.max() <= 24
    assert len(rows) >= 9
    assert (caption(picture, "A") != caption(picture, "B")).any()


def test_long_captions_stay_inside_and_show_that_they_are_cut() -> None:
    narrow = image(20, 60)
    bar = caption(narrow, "a caption that is far too long for sixty pixels")[:28].astype(int)
    assert (bar[:, :6] < 60).all()
    assert (bar > 128).any()
    assert (bar[:, -2:] < 60).all()
    # Not ASCII: shown as question marks, not refused.
    np.testing.assert_array_equal(caption(narrow, "é"), caption(narrow, "?"))


def test_grid_places_every_tile() -> None:
    tiles = [image(10, 20) for _ in range(5)]
    out = grid(tiles, 2, gap_px=3)
    assert out.shape == (3 * 10 + 2 * 3, 2 * 20 + 3, 3)
    for index, tile in enumerate(tiles):
        top, left = index // 2 * 13, index % 2 * 23
        np.testing.assert_array_equal(out[top : top + 10, left : left + 20], tile)
    # The cell without a tile, and the gap.
    assert len(np.unique(out[26:, 23:].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(out[:, 20:23].reshape(-1, 3), axis=0)) == 1


def test_smaller_tiles_are_centred() -> None:
    big, small = image(10, 20), image(4, 10)
    out = grid([big, small], 2, gap_px=0)
    assert out.shape == (10, 40, 3)
    np.testing.assert_array_equal(out[:, :20], big)
    np.testing.assert_array_equal(out[3:7, 25:35], small)
    np.testing.assert_array_equal(grid([big], 7), big)


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overlay(image().astype(float), np.zeros((4, 4), int), PALETTE), "image is float64"),
        (lambda: overlay(image()[..., 0], np.zeros((4, 4), int), PALETTE), "allowed is uint8 of shape"),
        (lambda: overlay(image(), np.zeros((4, 4), int), PALETTE, 1.5), "opacity is 1.5; allowed are 0..1"),
        (
            lambda: overlay(image(), np.full((4, 4), 3), PALETTE),
            "labels hold 3, the palette has 3 colours; allowed are 0",
        ),
        (lambda: colour_labels(np.zeros((4, 4)), PALETTE), "dtype float64; allowed are integers"),
        (lambda: colour_labels(np.zeros((4, 4), int), [(1, 2)]), "palette has shape"),
        (lambda: colour_labels(np.zeros((4, 4), int), [(1, 2, 256)]), "allowed are integers 0..255"),
        (lambda: colour_labels(np.zeros((4, 4), int), [(0.1, 0.2, 0.3)]), "allowed are integers 0..255"),
        (lambda: flow_to_rgb(np.zeros((3, 4, 4))), r"shape \(3, 4, 4\); allowed are numbers of shape \(2, H, W\)"),
        (lambda: flow_to_rgb(np.zeros((2, 4, 4)), max_px=0), "max_px is 0; allowed"),
        (lambda: flow_legend(2), "size is 2; allowed"),
        (lambda: caption(image(), "x", height_px=5), "height_px is 5; allowed"),
        (lambda: grid([], 2), "there are no tiles"),
        (lambda: grid([image()], 0), "columns is 0"),
        (lambda: grid([image() / 2], 1), "image is float64"),
    ],
)
def test_wrong_input_is_one_clear_error(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
