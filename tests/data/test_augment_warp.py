"""Geometric augmentation (scale, crop, flip, padding) and warping commute, for labels, flow and visibility masks.
`test_transforms.py` tests the same for smooth images.

With motion by whole pixels and integer scales there is no interpolation, and equality is exact. Other scales and affine
motion have tolerances for interpolation.
"""

from dataclasses import replace

import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.data.pairs import make_sample
from dwnet.data.transforms import Augmentation, GeometricParams, transform_flow, transform_labels
from dwnet.metrics import near_edge, occlusion_mask, warp_labels

HEIGHT, WIDTH = 24, 32


def drawn(seed: int, scale: float, crop: tuple[int, int], *, flip: bool) -> GeometricParams:
    augment = Augmentation(scale=(scale, scale), crop=crop, flip=float(flip))
    return augment.draw(np.random.default_rng(seed), HEIGHT, WIDTH)


def content(params: GeometricParams) -> NDArray[np.bool_]:
    """Returns the pixels of the crop that show the frame. The others are padding."""
    rows = params.top + np.arange(params.crop_size[0])
    columns = params.left + np.arange(params.crop_size[1])
    columns = columns[::-1] if params.flip else columns
    return ((rows >= 0) & (rows < params.scaled_size[0]))[:, None] & (
        (columns >= 0) & (columns < params.scaled_size[1])
    )


def ends_in(area: NDArray[np.bool_], flow_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns the pixels whose flow ends inside the rectangle that is true in `area`."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    y, x = np.mgrid[: area.shape[0], : area.shape[1]] + flow_px[::-1].astype(float)
    return (y >= rows[0]) & (y <= rows[-1]) & (x >= columns[0]) & (x <= columns[-1])


def two_motions(seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns a whole-pixel flow of an object and its background, and a mask that excludes the edge between them."""
    rng = np.random.default_rng(seed)
    flow = np.empty((2, HEIGHT, WIDTH), np.float32)
    flow[:] = rng.integers(-4, 5, (2, 1, 1))
    top, left = rng.integers(2, 10), rng.integers(2, 14)
    thing = np.zeros((HEIGHT, WIDTH), np.uint8)
    thing[top : top + 9, left : left + 12] = 1
    flow[:, thing > 0] = rng.integers(-4, 5, (2, 1))
    window = np.ones((3, 3), np.uint8)
    between = cv2.dilate(thing, window) != cv2.erode(thing, window)
    hidden = rng.random((HEIGHT, WIDTH)) < 0.05
    return flow, ~between & ~hidden & ends_in(np.ones((HEIGHT, WIDTH), bool), flow)


def affine(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the matrices (2, 3) of x -> x + flow(x), which zooms, turns and shifts, and of its inverse."""
    rng = np.random.default_rng(seed)
    forward = np.eye(3)
    forward[:2, :2] += rng.uniform(-0.06, 0.06, (2, 2))
    forward[:2, 2] = rng.uniform(-3, 3, 2)
    return forward[:2], np.linalg.inv(forward)[:2]


def flow_of(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    moved = np.tensordot(matrix, np.stack((x, y, np.ones_like(x))), 1)
    return (moved - np.stack((x, y))).astype(np.float32)


anything = {
    "seed": st.integers(0, 10_000),
    "crop": st.tuples(st.integers(6, 60), st.integers(6, 80)),
    "flip": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(scale=st.sampled_from([1, 2, 3]), **anything)
def test_labels_exactly(seed: int, scale: int, crop: tuple[int, int], flip: bool) -> None:
    """The labels are noise, so that a misplacement by one pixel would be detected everywhere."""
    flow, visible = two_motions(seed)
    neighbour = np.random.default_rng(seed).integers(0, 200, (HEIGHT, WIDTH), dtype=np.uint8)
    warped, _ = warp_labels(neighbour, flow)
    params = drawn(seed, scale, crop, flip=flip)
    moved, seen = transform_flow(flow, visible, params)
    found, _ = warp_labels(transform_labels(neighbour, params), moved)
    expected = transform_labels(warped, params)
    assert np.array_equal(found[seen], expected[seen])
    assert not (found[seen] == IGNORE_LABEL).any(), "a pixel that is seen shows padding"


def test_the_property_is_not_empty_and_would_be_broken_by_a_wrong_flow() -> None:
    broken = dict.fromkeys(("not mirrored", "not scaled"), 0)
    seen_pixels = 0
    for seed in range(30):
        flow, visible = two_motions(seed)
        neighbour = np.random.default_rng(seed).integers(0, 200, (HEIGHT, WIDTH), dtype=np.uint8)
        expected, _ = warp_labels(neighbour, flow)
        params = drawn(seed, 2, (40, 50), flip=True)
        moved, seen = transform_flow(flow, visible, params)
        seen_pixels += int(seen.sum())
        wrong = {"not mirrored": moved * np.array([-1, 1], np.float32)[:, None, None], "not scaled": moved / 2}
        for name, candidate in wrong.items():
            found, _ = warp_labels(transform_labels(neighbour, params), candidate)
            broken[name] += int((found != transform_labels(expected, params))[seen].sum())
    assert seen_pixels > 30 * 300
    assert min(broken.values()) > seen_pixels / 2


@settings(max_examples=60, deadline=None)
@given(scale=st.floats(0.5, 2.5), **anything)
def test_labels_away_from_their_edges_at_any_scale(seed: int, scale: float, crop: tuple[int, int], flip: bool) -> None:
    """Regions under an affine motion. Nearest neighbours may differ by one pixel, so edges are left out."""
    flow = flow_of(affine(seed)[0])
    coarse = np.random.default_rng(seed).integers(0, 5, (3, 4), dtype=np.uint8)
    neighbour = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    warped, visible = warp_labels(neighbour, flow)
    params = drawn(seed, scale, crop, flip=flip)
    moved, seen = transform_flow(flow, visible, params)
    found, _ = warp_labels(transform_labels(neighbour, params), moved)
    expected = transform_labels(warped, params)
    # Rounding moves each by half a pixel of the source and half a pixel of the crop. Edges must be farther away.
    unmixed = ~near_edge(warped, distance_px=2 + int(np.ceil(1 / scale)))
    compared = seen & (transform_labels(unmixed.astype(np.uint8), params) == 1)
    assert np.array_equal(found[compared], expected[compared])


@settings(max_examples=60, deadline=None)
@given(scale=st.floats(0.5, 2.5), **anything)
def test_flow_there_and_back(seed: int, scale: float, crop: tuple[int, int], flip: bool) -> None:
    """Forward flow and warped backward flow cancel, before and after an augmentation."""
    forward, backward = (flow_of(matrix) for matrix in affine(seed))
    params = drawn(seed, scale, crop, flip=flip)
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    there, _ = transform_flow(forward, everywhere, params)
    back, _ = transform_flow(backward, everywhere, params)
    # Resizing repeats the border, where the flow is then not affine. Pixels within a source pixel of it are left out.
    margin = int(np.ceil(scale)) + 1
    inner = cv2.erode(
        np.pad(content(params).astype(np.uint8), margin), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    )[margin:-margin, margin:-margin].astype(bool)
    if not inner.any():
        return
    compared = inner & ends_in(inner, there)
    y, x = (np.mgrid[: crop[0], : crop[1]] + there[::-1]).astype(np.float32)
    returned = np.stack([cv2.remap(channel, x, y, cv2.INTER_LINEAR) for channel in back])
    # Older versions of OpenCV sample at 1/32 px. The flow changes by at most 0.12 px per pixel.
    assert np.abs(there + returned)[:, compared].max(initial=0) < 0.02
    assert occlusion_mask(there, back)[compared].all()


@settings(max_examples=80, deadline=None)
@given(scale=st.floats(0.5, 2.5) | st.sampled_from([1.0, 2.0, 3.0]), **anything)
def test_visibility(seed: int, scale: float, crop: tuple[int, int], flip: bool) -> None:
    """A mask has the same geometry as labels, and pixels whose flow ends in the padding are not visible.

    Interpolation reads up to one source pixel further than the nearest neighbour. Therefore the mask is between the
    nearest-neighbour results of the source mask and of the eroded source mask. At scale 1 both are equal.
    """
    flow, visible = two_motions(seed)
    params = drawn(seed, scale, crop, flip=flip)
    moved, seen = transform_flow(flow, visible, params)
    # Interpolation and erosion both repeat the outermost pixels at the frame's border.
    reach = np.ones((3, 3), np.uint8)
    sure = visible if params.scaled_size == params.source_size else cv2.erode(visible.astype(np.uint8), reach) > 0
    at_most, at_least = (transform_labels(mask.astype(np.uint8), params) == 1 for mask in (visible, sure))
    inside = ends_in(content(params), moved) & content(params)
    if scale >= 1:  # below 1, a pixel of the crop covers several pixels, and only 2 x 2 of them are interpolated
        assert not (seen & ~(at_most & inside)).any()
    assert not (seen & ~inside).any()
    assert not (at_least & inside & ~seen).any()


@settings(max_examples=40, deadline=None)
@given(**anything)
def test_a_sample_keeps_frame_neighbour_flow_and_labels_together(seed: int, crop: tuple[int, int], flip: bool) -> None:
    """At scale 1 the warped neighbour of a sample is equal to the frame, also with changed colours."""
    flow, visible = two_motions(seed)
    rng = np.random.default_rng(seed)
    neighbour = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    y, x = (np.mgrid[:HEIGHT, :WIDTH] + flow[::-1]).round().astype(int)
    frame = neighbour[y.clip(0, HEIGHT - 1), x.clip(0, WIDTH - 1)]
    labels = frame[..., 0] // 2
    sample = make_sample(
        name="a",
        index=0,
        frame=frame,
        labels=labels,
        neighbour=neighbour,
        offset=1,
        flow_px=flow,
        visible=visible,
        augment=replace(Augmentation(brightness=0.3, contrast=0.2), scale=(1, 1), crop=crop, flip=float(flip)),
        rng=rng,
    )
    seen, (dx, dy) = sample["visible"], sample["flow"].round().long()  # type: ignore[typeddict-item]
    rows, columns = torch.where(seen)
    read = sample["neighbour"][:, rows + dy[seen], columns + dx[seen]]  # type: ignore[typeddict-item]
    assert torch.equal(read, sample["frame"][:, seen])
    known = sample["labels"][seen]
    assert (known != IGNORE_LABEL).all()
    # The label is half of the original red value, so red must not decrease with the label.
    order = known.argsort()
    assert (sample["frame"][0, seen][order].diff()[known[order].diff() > 0] >= 0).all()
