"""Augmentation against loops in float64 and hand-computed flow.

For training one property is essential: warping the augmented neighbour by the augmented flow gives the augmented frame.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.data.transforms import (
    MEAN_COLOUR,
    Augmentation,
    ColourParams,
    GeometricParams,
    grey_mean,
    image_to_chw,
    transform_colour,
    transform_flow,
    transform_image,
    transform_labels,
)

GEOMETRIES = [
    GeometricParams((7, 9), (7, 9), 1, 2, (4, 5), False),
    GeometricParams((7, 9), (14, 18), 3, 5, (8, 8), True),
    GeometricParams((7, 9), (10, 13), 2, 0, (6, 13), False),
    GeometricParams((7, 9), (4, 5), -2, -3, (8, 9), True),
    GeometricParams((7, 9), (11, 6), 3, -1, (5, 8), False),
]


def source_position(out: int, offset: int, source: int, scaled: int) -> float:
    """Position in the source of the centre of an output pixel, by the pixel-centre convention."""
    return (out + offset + 0.5) * source / scaled - 0.5


def reference_bilinear(plane: NDArray[np.float64], y: float, x: float) -> float:
    height, width = plane.shape
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(np.floor(y)), int(np.floor(x))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    above = plane[top, left] * (1 - (x - left)) + plane[top, right] * (x - left)
    below = plane[bottom, left] * (1 - (x - left)) + plane[bottom, right] * (x - left)
    return float(above * (1 - (y - top)) + below * (y - top))


def inside(params: GeometricParams, row: int, column: int) -> bool:
    return 0 <= row + params.top < params.scaled_size[0] and 0 <= column + params.left < params.scaled_size[1]


@pytest.mark.parametrize("params", GEOMETRIES)
def test_image_and_labels_are_a_loop_over_pixel_centres(params: GeometricParams) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (*params.source_size, 3), dtype=np.uint8)
    labels = rng.integers(0, 11, params.source_size, dtype=np.uint8)
    height, width = params.crop_size
    expected = np.empty((3, height, width))
    expected_labels = np.empty((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            y = source_position(row, params.top, params.source_size[0], params.scaled_size[0])
            x = source_position(column, params.left, params.source_size[1], params.scaled_size[1])
            if not inside(params, row, column):
                expected[:, row, column] = MEAN_COLOUR
                expected_labels[row, column] = IGNORE_LABEL
                continue
            for channel in range(3):
                expected[channel, row, column] = reference_bilinear(image[..., channel] / 255.0, y, x)
            expected_labels[row, column] = labels[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
    if params.flip:
        expected, expected_labels = expected[..., ::-1], expected_labels[..., ::-1]
    found = transform_image(image, params)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.abs(found - expected).max() <= 1.01 / 255  # the resize rounds to 8 bits
    assert np.array_equal(transform_labels(labels, params), expected_labels)


@pytest.mark.parametrize("params", GEOMETRIES)
def test_flow_is_interpolated_and_scaled_and_seen_only_where_all_of_it_is(params: GeometricParams) -> None:
    rng = np.random.default_rng(2)
    flow = rng.normal(0, 1, (2, *params.source_size)).astype(np.float32)
    visible = rng.random(params.source_size) < 0.8
    height, width = params.crop_size
    expected = np.zeros((2, height, width))
    seen = np.zeros((height, width), bool)
    factors = [params.scaled_size[1] / params.source_size[1], params.scaled_size[0] / params.source_size[0]]
    for row in range(height):
        for column in range(width):
            if not inside(params, row, column):
                continue
            y = source_position(row, params.top, params.source_size[0], params.scaled_size[0])
            x = source_position(column, params.left, params.source_size[1], params.scaled_size[1])
            for channel in range(2):
                expected[channel, row, column] = (
                    reference_bilinear(flow[channel].astype(float), y, x) * factors[channel]
                )
            end_column, end_row = column + expected[0, row, column], row + expected[1, row, column]
            content_x = end_column + params.left, params.scaled_size[1]
            content_y = end_row + params.top, params.scaled_size[0]
            seen[row, column] = (
                reference_bilinear(visible.astype(float), y, x) > 1 - 1e-9
                and all(0 <= place <= size - 1 for place, size in (content_x, content_y))
                and 0 <= end_column <= width - 1
                and 0 <= end_row <= height - 1
            )
    if params.flip:
        expected[0] *= -1
        expected, seen = expected[..., ::-1], seen[..., ::-1]
    found, found_seen = transform_flow(flow, visible, params)
    assert np.allclose(found, expected, atol=1e-5)
    assert np.array_equal(found_seen, seen)
    assert seen.any() or params.scaled_size[0] < 7


def test_a_mirror_turns_dx_and_a_resize_scales_both() -> None:
    """Hand-computed: (3, -1) px on a 4 x 6 map is (-6, -3) on its 12 x 12 mirror image."""
    flow = np.stack([np.full((4, 6), 3, np.float32), np.full((4, 6), -1, np.float32)])
    visible = np.ones((4, 6), bool)
    params = GeometricParams((4, 6), (12, 12), 0, 0, (12, 12), True)
    moved, seen = transform_flow(flow, visible, params)
    assert np.all(moved[0] == -6)
    assert np.all(moved[1] == -3)
    # After mirroring, the flow of the 6 leftmost columns leaves the map at its left edge.
    assert not seen[:, :6].any()
    assert not seen[:3].any()
    assert seen[3:, 6:].all()
    same, kept = transform_flow(flow, visible, replace(params, scaled_size=(4, 6), crop_size=(4, 6), flip=False))
    assert np.array_equal(same, flow)
    assert np.array_equal(kept[1], [True, True, True, False, False, False])


def scene(y: NDArray, x: NDArray) -> NDArray[np.float64]:
    """A smooth picture, three planes of 0..1, defined everywhere."""
    return np.stack(
        [
            0.5 + 0.45 * np.sin(2 * np.pi * (x + 0.3 * y) / 31),
            0.5 + 0.45 * np.cos(2 * np.pi * (y - 0.2 * x) / 27),
            0.5 + 0.22 * np.sin(2 * np.pi * x / 37) + 0.22 * np.sin(2 * np.pi * y / 29),
        ]
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.6, 2.0),
    crop=st.tuples(st.integers(40, 110), st.integers(40, 110)),
    flip=st.booleans(),
)
def test_augment_then_warp_is_warp_then_augment(seed: int, scale: float, crop: tuple[int, int], flip: bool) -> None:
    height, width = 64, 80
    y, x = np.mgrid[:height, :width].astype(float)
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-4, 4, 2)
    flow = np.stack([shift[0] + 0.03 * (x - 40) + np.sin(y / 15), shift[1] + 0.03 * (y - 32) + np.cos(x / 17)])
    neighbour = np.rint(scene(y, x) * 255).astype(np.uint8).transpose(1, 2, 0)
    frame = np.rint(scene(y + flow[1], x + flow[0]) * 255).astype(np.uint8).transpose(1, 2, 0)
    end_x, end_y = x + flow[0], y + flow[1]
    visible = (end_x >= 0) & (end_x <= width - 1) & (end_y >= 0) & (end_y <= height - 1)
    augment = Augmentation(scale=(scale, scale), crop=crop, flip=float(flip))
    params = augment.draw(rng, height, width)
    moved, seen = transform_flow(flow.astype(np.float32), visible, params)
    expected = transform_image(frame, params)
    found_neighbour = transform_image(neighbour, params).astype(float)
    errors = [
        abs(
            reference_bilinear(found_neighbour[channel], row + moved[1, row, column], column + moved[0, row, column])
            - expected[channel, row, column]
        )
        for row, column in np.argwhere(seen)[::7]
        for channel in range(3)
    ]
    assert errors, "the property is empty: nothing is visible"
    # Limits for 8-bit rounding and two interpolations. A misplacement of half a pixel gives errors of 0.05 and more.
    assert max(errors) < 0.03
    assert np.mean(errors) < 0.008


def test_draws_stay_in_range_keep_the_frame_and_use_its_whole_extent() -> None:
    augment = Augmentation(scale=(0.5, 2.0), crop=(40, 50))
    draws = [augment.draw(np.random.default_rng(i), 60, 80) for i in range(400)]
    for params in draws:
        factors = params.scaled_size[0] / 60, params.scaled_size[1] / 80
        assert all(0.49 <= factor <= 2.01 for factor in factors)
        assert abs(factors[0] - factors[1]) < 0.02
        rows, columns, crop_rows, crop_columns = params.window()
        assert rows.stop - rows.start == crop_rows.stop - crop_rows.start == min(40, params.scaled_size[0])
        assert columns.stop - columns.start == crop_columns.stop - crop_columns.start == min(50, params.scaled_size[1])
    assert any(params.top < 0 for params in draws)
    assert any(params.top == params.scaled_size[0] - 40 > 0 for params in draws)
    assert 140 < sum(params.flip for params in draws) < 260
    assert augment.draw(np.random.default_rng(5), 60, 80) == augment.draw(np.random.default_rng(5), 60, 80)


def test_one_to_one_geometry_copies() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    params = Augmentation(scale=(1, 1), crop=(20, 30), flip=0).draw(rng, 20, 30)
    assert np.array_equal(transform_image(image, params), image_to_chw(image))
    assert np.array_equal(np.rint(image_to_chw(image) * 255).transpose(1, 2, 0), image)


def test_colour_by_hand() -> None:
    """One pixel (0.2, 0.4, 0.6): grey 0.299*0.2 + 0.587*0.4 + 0.114*0.6 = 0.363."""
    image = np.array([0.2, 0.4, 0.6], np.float32).reshape(3, 1, 1)
    assert grey_mean(image) == pytest.approx(0.363, abs=1e-6)
    bright = transform_colour(image, ColourParams(brightness=1.5), mean_grey=0.363)
    assert np.allclose(bright.ravel(), [0.3, 0.6, 0.9])
    contrast = transform_colour(image, ColourParams(contrast=0.5), mean_grey=0.4)
    assert np.allclose(contrast.ravel(), [0.3, 0.4, 0.5])
    grey = transform_colour(image, ColourParams(saturation=0.0), mean_grey=0.4)
    assert np.allclose(grey.ravel(), [0.363] * 3)
    clipped = transform_colour(image, ColourParams(brightness=2.0), mean_grey=0.4)
    assert np.allclose(clipped.ravel(), [0.4, 0.8, 1.0])
    assert np.allclose(image.ravel(), [0.2, 0.4, 0.6]), "the input was changed"
    assert transform_colour(image, ColourParams(), mean_grey=0.4) is image


def test_colour_draws() -> None:
    assert Augmentation().draw_colour(np.random.default_rng(0)) == ColourParams()
    augment = Augmentation(brightness=0.2, contrast=0.1, saturation=0.3)
    draws = [augment.draw_colour(np.random.default_rng(i)) for i in range(200)]
    for name, limit in (("brightness", 0.2), ("contrast", 0.1), ("saturation", 0.3)):
        values = [getattr(draw, name) for draw in draws]
        assert 0.8 * limit < max(values) - 1 <= limit
        assert 0.8 * limit < 1 - min(values) <= limit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (0.0, 1.0)}, "scale: found"),
        ({"scale": (2.0, 1.0)}, "scale: found"),
        ({"scale": (0.5, float("nan"))}, "scale: found"),
        ({"crop": (0, 352)}, r"crop: found \(0, 352\)"),
        ({"crop": (352.0, 352)}, "crop: found"),
        ({"flip": 1.5}, "flip: found 1.5; allowed is a probability"),
        ({"brightness": 1.0}, "brightness: found 1.0"),
        ({"saturation": -0.1}, "saturation: found -0.1"),
    ],
)
def test_bad_ranges_are_one_clear_error(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


def test_parameters_of_another_size_are_refused() -> None:
    params = GeometricParams((7, 9), (7, 9), 0, 0, (4, 4), False)
    other = np.zeros((9, 7), np.uint8)
    with pytest.raises(ValueError, match=r"label map: found 9 x 7 pixels .* drawn for 7 x 9"):
        transform_labels(other, params)
    with pytest.raises(ValueError, match="image: found 9 x 7"):
        transform_image(np.zeros((9, 7, 3), np.uint8), params)
    with pytest.raises(ValueError, match="visibility: found 9 x 7"):
        transform_flow(np.zeros((2, 7, 9), np.float32), other.astype(bool), params)
