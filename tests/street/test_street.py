"""The rendered street: flow, depth and labels are exact, rendering is deterministic, and looks have their properties.

The reference for the flow is independent of the renderer's homographies: a pixel of a static object is projected into
the world by depth and camera, and from there into the other frame, in float64.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.street import LOOKS, StreetScene
from dwnet.street.clip import write_clip
from dwnet.street.geometry import clip_near, determinant3, inverse3, look_rotation
from dwnet.street.looks import SHARES
from dwnet.street.render.raster import _polygons, _to_fixed
from dwnet.street.render.sensor import GROUP_FRAMES, Sensor, decoded
from dwnet.street.textures.synthesis import fractal_noise
from dwnet.street.world.plan import Road, Turn, make_plan

MOVING = (8, 9, 10)
"""Classes of moving objects: car (some are parked), pedestrian, bicyclist."""
CLASSES = {*range(11), 255}
OFFSETS = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def scene() -> StreetScene:
    """A small overcast street, without hard shadows that move over the ground."""
    return StreetScene(5, width=160, height=120, look="overcast")


def _grid(height: int, width: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def _sample(image: np.ndarray, flow_px: np.ndarray, how: int) -> np.ndarray:
    x, y = _grid(*image.shape[:2]) + flow_px
    return cv2.remap(image, x, y, how)


def _inner(labels: np.ndarray, instances: np.ndarray, radius: int = 2) -> np.ndarray:
    """Returns the pixels whose neighbourhood shows one object only."""
    kernel = np.ones((2 * radius + 1,) * 2, np.uint8)
    same = np.ones(labels.shape, bool)
    for plane in (labels.astype(np.float32), instances.astype(np.float32)):
        same &= cv2.dilate(plane, kernel) == cv2.erode(plane, kernel)
    return same


@pytest.mark.parametrize("k", OFFSETS)
def test_flow_of_standing_things_is_their_depth_seen_from_the_other_camera(scene: StreetScene, k: int) -> None:
    t = 60
    frame, (flow_px, visible) = scene.render(t), scene.flow(t, k)
    here, there = scene.camera(t), scene.camera(t + k)
    y, x = np.nonzero(visible & np.isfinite(frame.depth_m) & np.isin(frame.labels, (1, 3, 4)))
    assert len(x) > 3000
    focal, (cx, cy) = here.focal_px, here.centre_px
    rays = np.stack([(x - cx) / focal, (y - cy) / focal, np.ones(len(x))], 1)
    world = (rays * frame.depth_m[y, x, None].astype(np.float64)) @ here.rotation + here.position
    seen = (world - there.position) @ there.rotation.T
    expected = np.stack([focal * seen[:, 0] / seen[:, 2] + cx - x, focal * seen[:, 1] / seen[:, 2] + cy - y])
    np.testing.assert_allclose(flow_px[:, y, x], expected, atol=0.02)


@pytest.mark.parametrize("k", OFFSETS)
def test_warping_the_neighbour_gives_this_frame(scene: StreetScene, k: int) -> None:
    """Without noise, blur and exposure, at visible pixels away from edges, the bilinearly warped neighbour differs by
    less than 4 grey levels on average, and by less than half of the unwarped difference. The rest is resampling of the
    textures."""
    t = 60
    now, later = scene.render(t, sensor=False), scene.render(t + k, sensor=False)
    flow_px, visible = scene.flow(t, k)
    inner = visible & _inner(now.labels, now.instances)
    assert inner.mean() > 0.3
    error = np.abs(_sample(later.image, flow_px, cv2.INTER_LINEAR).astype(float) - now.image).mean(2)
    unwarped = np.abs(later.image.astype(float) - now.image).mean(2)
    assert error[inner].mean() < 4.0
    assert np.median(error[inner]) < 2.5
    assert error[inner].mean() < unwarped[inner].mean() / 2


@pytest.mark.parametrize("k", [1, -1])
def test_with_noise_blur_and_exposure_it_still_does(scene: StreetScene, k: int) -> None:
    """With all effects of the camera, the rest also has the noise of two frames, 2.6 grey levels each, the drift of the
    exposure, and compression."""
    now, later = scene.render(60), scene.render(60 + k)
    flow_px, visible = scene.flow(60, k)
    inner = visible & _inner(now.labels, now.instances)
    error = np.abs(_sample(later.image, flow_px, cv2.INTER_LINEAR).astype(float) - now.image).mean(2)
    unwarped = np.abs(later.image.astype(float) - now.image).mean(2)
    assert error[inner].mean() < 7.0
    assert error[inner].mean() < 0.8 * unwarped[inner].mean()


@pytest.mark.parametrize("k", OFFSETS)
def test_depth_is_that_of_the_same_point_in_the_neighbour(scene: StreetScene, k: int) -> None:
    """The neighbour's depth at the end of the flow is the depth of the point, computed from this frame's depth."""
    t = 60
    now, later, (flow_px, visible) = scene.render(t), scene.render(t + k), scene.flow(t, k)
    here, there = scene.camera(t), scene.camera(t + k)
    inner = visible & _inner(now.labels, now.instances) & np.isin(now.labels, (1, 3, 4))
    y, x = np.nonzero(inner)
    rays = np.stack(
        [(x - here.centre_px[0]) / here.focal_px, (y - here.centre_px[1]) / here.focal_px, np.ones(len(x))], 1
    )
    world = (rays * now.depth_m[y, x, None].astype(np.float64)) @ here.rotation + here.position
    expected = ((world - there.position) @ there.rotation.T)[:, 2]
    finite = np.where(np.isfinite(later.depth_m), later.depth_m, 0)
    seen = 1 / _sample(1 / np.maximum(finite, 1e-3), flow_px, cv2.INTER_LINEAR)[y, x]  # a plane's 1/depth is linear
    assert np.quantile(np.abs(seen / expected - 1), 0.95) < 0.01


@pytest.mark.parametrize("k", OFFSETS)
def test_labels_and_instances_warp_to_themselves(scene: StreetScene, k: int) -> None:
    t = 60
    now, later = scene.render(t), scene.render(t + k)
    flow_px, visible = scene.flow(t, k)
    inner = visible & _inner(now.labels, now.instances)
    labels = _sample(later.labels, flow_px, cv2.INTER_NEAREST)
    instances = _sample(later.instances.astype(np.float32), flow_px, cv2.INTER_NEAREST).astype(np.int32)
    assert (labels[inner] == now.labels[inner]).mean() > 0.9999
    assert (instances[inner] == now.instances[inner]).mean() > 0.9999


def test_the_other_frames_raster_knows_where_surfaces_go(scene: StreetScene) -> None:
    """Maps that the flow takes from the other frame's raster are equal to maps that are computed again."""
    later = scene._raster(66)
    anew = scene._carried(60, 66 / 25, later.camera)
    np.testing.assert_array_equal(scene._carried(60, 66 / 25, later.camera, later), anew)
    assert np.isin(scene._raster(60).key, later.near_key).mean() > 0.5


def test_repeated_corners_are_left_out() -> None:
    pixels = np.random.default_rng(0).uniform(5, 40, (6, 10, 2))
    counts = [3, 4, 5, 8, 9, 10]
    for polygon, count in zip(pixels, counts, strict=True):
        polygon[count:] = polygon[count - 1]
    polygons = _polygons(pixels)
    assert [len(polygon) for polygon in polygons] == counts
    for short, whole in zip(polygons, _to_fixed(pixels), strict=True):
        np.testing.assert_array_equal(short, whole[: len(short)])


@pytest.mark.parametrize("k", OFFSETS)
def test_flow_there_and_back_returns(scene: StreetScene, k: int) -> None:
    """The flow to t + k and the flow back from its end cancel where both frames show the same point."""
    t = 60
    there, visible = scene.flow(t, k)
    back, visible_back = scene.flow(t + k, -k)
    returned = np.stack([_sample(channel, there, cv2.INTER_LINEAR) for channel in back])
    now = scene.render(t)
    inner = visible & _inner(now.labels, now.instances)
    inner &= _sample(visible_back.astype(np.float32), there, cv2.INTER_LINEAR) > 0.999
    residual = np.hypot(*(there + returned))[inner]
    assert np.median(residual) < 0.02
    assert np.quantile(residual, 0.98) < 0.25


def test_what_walks_or_drives_has_its_own_motion() -> None:
    """The flow of moving objects differs from the flow of static points at the same depth."""
    scene = StreetScene(1, width=160, height=120, look="overcast")
    far = 0.0
    for t in range(0, 200, 25):
        frame, (flow_px, visible) = scene.render(t), scene.flow(t, 5)
        here, there = scene.camera(t), scene.camera(t + 5)
        y, x = np.nonzero(visible & np.isin(frame.labels, MOVING) & (frame.depth_m < 40))
        if not len(x):
            continue
        focal, (cx, cy) = here.focal_px, here.centre_px
        rays = np.stack([(x - cx) / focal, (y - cy) / focal, np.ones(len(x))], 1)
        seen = ((rays * frame.depth_m[y, x, None]) @ here.rotation + here.position - there.position) @ there.rotation.T
        still = np.stack([focal * seen[:, 0] / seen[:, 2] + cx - x, focal * seen[:, 1] / seen[:, 2] + cy - y])
        far = max(far, float(np.quantile(np.hypot(*(flow_px[:, y, x] - still)), 0.9)))
    assert far > 1.0


@pytest.mark.parametrize("t", [60, 300, 700])
def test_no_motion_at_k_0(scene: StreetScene, t: int) -> None:
    flow_px, visible = scene.flow(t, 0)
    np.testing.assert_allclose(flow_px, 0, atol=1e-3)
    assert visible.mean() > 0.999


def test_same_seed_same_bytes_in_any_order(scene: StreetScene) -> None:
    again = StreetScene(5, width=160, height=120, look="overcast")
    late, early = again.render(70), again.render(60)
    for other, t in ((early, 60), (late, 70)):
        frame = scene.render(t)
        np.testing.assert_array_equal(frame.image, other.image)
        np.testing.assert_array_equal(frame.labels, other.labels)
        np.testing.assert_array_equal(frame.depth_m, other.depth_m)
    different = StreetScene(9, width=160, height=120, look="overcast").render(60)
    assert (different.labels != scene.render(60).labels).mean() > 0.05


def test_frames_are_well_formed(scene: StreetScene) -> None:
    frames = list(scene.frames(3, start=10))
    assert [round(frame.pts_seconds * 25) for frame in frames] == [10, 11, 12]
    for frame in frames:
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.dtype == np.uint8
        assert frame.labels.dtype == np.uint8
        assert set(np.unique(frame.labels)) <= CLASSES
        np.testing.assert_array_equal(np.isinf(frame.depth_m), frame.labels == 0)
        assert frame.depth_m.min() > 0.1


def test_layout_is_a_dashcams(scene: StreetScene) -> None:
    """The road is at the bottom and not at the top. All eleven classes occur in a drive."""
    seen: set[int] = set()
    for t in range(0, 900, 60):
        labels = scene.render(t).labels
        seen |= set(np.unique(labels).tolist())
        assert (labels[-20:, 60:100] == 3).mean() > 0.5
        assert (labels[: 60 - 12] == 3).mean() < 0.01
    assert seen >= set(range(11))


def test_pictures_are_textured(scene: StreetScene) -> None:
    """Inside an object neighbouring pixels differ."""
    frame = scene.render(60, sensor=False)
    inner = _inner(frame.labels, frame.instances)
    grey = frame.image.astype(float).mean(2)
    detail = np.abs(grey - cv2.blur(grey, (5, 5)))
    for label in (1, 3, 4):
        assert detail[inner & (frame.labels == label)].mean() > 1.0


def test_looks_differ() -> None:
    images = {name: StreetScene(5, width=80, height=60, look=name).render(60).image for name in LOOKS}
    means = {name: float(image.mean()) for name, image in images.items()}
    assert means["dusk"] < 0.7 * means["overcast"]
    assert images["night"][:20].mean() < 0.6 * images["dusk"][:20].mean()  # below, the headlights shine
    assert means["wet"] < means["overcast"]
    with pytest.raises(ValueError, match="no look named 'sunny'; there are day, overcast, dusk, wet, night"):
        StreetScene(5, look="sunny")


def test_every_look_is_drawn_with_its_share() -> None:
    assert set(SHARES) == set(LOOKS)
    assert sum(SHARES.values()) == pytest.approx(1)
    scene = StreetScene(5, width=32, height=32)
    assert scene.look == StreetScene(5, width=32, height=32).look
    assert scene.look in LOOKS.values()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is 0 or more, got -1"),
        ({"seed": 0, "width": 16}, "at least 32 x 32 pixels, got 16 x 360"),
        ({"seed": 0, "fps": 0}, "fps must be above 0, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreetScene(**arguments)


def test_frames_outside_the_scene_are_named(scene: StreetScene) -> None:
    with pytest.raises(ValueError, match=r"frames 0\.\.999, got 1000"):
        scene.render(1000)
    with pytest.raises(ValueError, match=r"frames 0\.\.999, got -1"):
        scene.flow(2, -3)


def test_clip_is_written_whole_or_not_at_all(tmp_path: Path, scene: StreetScene) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "drive.mp4"
    assert write_clip(scene, path, seconds=0.2) == 5
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    assert np.abs(frames[0].astype(float) - scene.render(0).image).mean() < 8
    with pytest.raises(ValueError, match="lasts 40 s; 50 s from 0 s"):
        write_clip(scene, tmp_path / "other.mp4", seconds=50)
    with pytest.raises(ValueError, match=r"crf is 0\.\.51, got 60"):
        write_clip(scene, tmp_path / "other.mp4", seconds=1, crf=60)
    with pytest.raises(ValueError, match=r"is an \.mp4 file, got 'drive\.avi'"):
        write_clip(scene, tmp_path / "drive.avi", seconds=1)
    with pytest.raises(ValueError, match="even width and height, got 81 x 60"):
        write_clip(StreetScene(5, width=81, height=60), tmp_path / "odd.mp4", seconds=1)
    assert [p.name for p in tmp_path.iterdir()] == ["drive.mp4"]


# -- camera ------------------------------------------------------------------------------------------------------------


def test_motion_blur_spreads_a_point_over_its_way_in_the_exposure() -> None:
    """A bright column that moves 6 pixels to the right becomes 6 to 8 columns of equal brightness around it."""
    sensor = Sensor(replace(LOOKS["day"], noise=0), 0, 40, 60, 25)
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30] = 240
    smear = np.zeros((2, 20, 30), np.float32)
    np.testing.assert_array_equal(sensor.expose(image, smear), image)
    smear[0] = 6
    row = sensor.expose(image, smear)[20, :, 0].astype(float)
    assert 5 <= (row > 0).sum() <= 8
    assert abs((row * np.arange(60)).sum() / row.sum() - 30) < 0.6
    assert row.sum() == pytest.approx(240, rel=0.1)


def test_a_long_exposure_blurs_the_picture_and_nothing_else() -> None:
    frames = []
    for exposure_ms in (0.0, 30.0):
        look = replace(LOOKS["overcast"], exposure_ms=exposure_ms, noise=0.0, exposure_drift=0.0)
        frames.append(StreetScene(5, width=160, height=120, look=look).render(60))
    sharp, blurred = frames
    np.testing.assert_array_equal(sharp.labels, blurred.labels)
    np.testing.assert_array_equal(sharp.depth_m, blurred.depth_m)
    lower = slice(70, 120)  # the road and what is beside it move fastest
    detail = [np.abs(np.diff(f.image[lower].astype(float), axis=1)).mean() for f in frames]
    assert detail[1] < 0.85 * detail[0]


def test_compression_is_worst_before_the_next_key_frame() -> None:
    sensor = Sensor(replace(LOOKS["day"], quality=(30, 95), noise=0, exposure_drift=0), 0, 96, 96, 25)
    grey = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 96), dtype=np.uint8), (0, 0), 1)
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    clean = sensor.plain(cv2.GaussianBlur(image, (0, 0), LOOKS["day"].lens_blur * 96 / 360))
    error = [np.abs(decoded(sensor.record(image, t)).astype(float) - clean).mean() for t in range(GROUP_FRAMES + 1)]
    assert error[GROUP_FRAMES - 1] > 2 * error[0]
    assert error[GROUP_FRAMES] < 0.7 * error[GROUP_FRAMES - 1]


def test_headlights_light_the_road_before_the_car() -> None:
    """With and without the beams: at night the near road is brighter with them, the upper half is hardly changed."""
    looks = [replace(LOOKS["night"], headlights=h, noise=0.0) for h in (0.0, LOOKS["night"].headlights)]
    off, on = (
        StreetScene(5, width=160, height=120, look=look).render(60, sensor=False).image.astype(float) for look in looks
    )
    near, high = (on - off)[80:, 40:120].mean(), (on - off)[:40].mean()
    assert near > 15
    assert high < 0.3 * near


# -- the road ----------------------------------------------------------------------------------------------------------


def test_corners_turn_by_their_angle_and_no_side_street_is_near() -> None:
    corners = 0
    for seed in range(12):
        turn = Turn.draw(np.random.default_rng(seed), 180.0)
        if turn is None:
            continue
        corners += 1
        rng = np.random.default_rng([seed, 1])
        start, end = turn.span
        road, straight = (Road.bending(np.random.default_rng([seed, 2]), 400.0, corner) for corner in (turn, None))
        bend, without = (r.angle(end) - r.angle(start) for r in (road, straight))
        assert bend - without == pytest.approx(turn.angle, abs=0.03)
        assert np.abs(np.gradient(road.heading, road.s)).max() < 1 / 14  # tighter, and houses inside would meet
        plan = make_plan(rng, 400.0, turn)
        assert all(b < start - 45 or a > end + 45 for a, b in plan.junctions)
        assert plan.turning(turn.middle)
        assert not plan.turning(start - 1)
    assert 4 <= corners <= 10


def test_a_drive_takes_the_corner(scene: StreetScene) -> None:
    """The camera's heading changes by more than 40 degrees within six seconds, and the camera stays on the road."""
    heading = [np.degrees(np.arctan2(*scene.camera(t).rotation[2][[0, 2]])) for t in range(500, 640, 10)]
    assert abs(heading[-1] - heading[0]) > 40
    assert all((scene.render(t).labels[-20:, 60:100] == 3).mean() > 0.8 for t in range(500, 640, 35))


def test_large_frames() -> None:
    """A frame of 1024 x 2048 has the labels of the small frame."""
    large = StreetScene(5, width=2048, height=1024, look="overcast").render(60)
    small = StreetScene(5, width=256, height=128, look="overcast").render(60)
    assert large.image.shape == (1024, 2048, 3)
    assert (large.labels[3::8, 3::8] == small.labels).mean() > 0.93


# -- geometry ----------------------------------------------------------------------------------------------------------


def test_small_inverses_match_numpy() -> None:
    matrices = np.random.default_rng(0).normal(size=(50, 3, 3))
    np.testing.assert_allclose(inverse3(matrices), np.linalg.inv(matrices), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(determinant3(matrices), np.linalg.det(matrices), rtol=1e-10)


def test_camera_axes() -> None:
    """Right, down, forward; yaw turns right, pitch looks up. World: X right, Y up, Z forward."""
    np.testing.assert_allclose(look_rotation(0, 0, 0), [[1, 0, 0], [0, -1, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(look_rotation(np.pi / 2, 0, 0)[2], [1, 0, 0], atol=1e-12)
    assert look_rotation(0, 0.1, 0)[2][1] > 0
    rotation = look_rotation(0.3, -0.2, 0.1)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_polygons_are_cut_at_the_near_plane(scene: StreetScene) -> None:
    camera = scene.camera(0)
    ahead, right, down = camera.rotation[2], camera.rotation[0], camera.rotation[1]
    square = np.stack([camera.position + z * ahead + x * right + down for z, x in ((-5, -1), (5, -1), (5, 1), (-5, 1))])
    cut = clip_near(square, camera)
    assert len(cut) == 4
    assert np.isfinite(cut).all()
    assert len(clip_near(square - 20 * ahead, camera)) == 0


def test_noise_tiles() -> None:
    noise = fractal_noise(np.random.default_rng(1), 64, 96, 16)
    assert abs(float(noise.mean())) < 1e-4
    assert float(noise.std()) == pytest.approx(1, abs=1e-3)
    step_inside = np.abs(np.diff(noise, axis=1)).mean()
    assert np.abs(noise[:, 0] - noise[:, -1]).mean() < 2.5 * step_inside
