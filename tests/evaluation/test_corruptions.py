"""The common corruptions: values by hand, strength by severity, randomness, errors."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from dwnet.core.errors import DWNetError
from dwnet.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from tests.exported import textured_frame

PAPER = (
    "gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog brightness "
    "contrast elastic_transform pixelate jpeg_compression"
)


def coloured() -> np.ndarray:
    """(64, 96, 3) uint8 with details, and another mean in each channel."""
    frame = textured_frame(size=(64, 96)).astype(int)
    return (
        np.stack([frame[..., 0], frame[..., 1] // 2 + 40, 220 - frame[..., 2]], axis=-1).clip(0, 255).astype(np.uint8)
    )


def changed(name: str, severity: int, seed: int = 0, image: np.ndarray | None = None) -> np.ndarray:
    return corrupt(coloured() if image is None else image, name, severity, np.random.default_rng(seed))


def test_the_fifteen_of_the_paper() -> None:
    assert " ".join(CORRUPTIONS) == PAPER
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_is_stronger_with_severity_and_repeatable(name: str) -> None:
    image = coloured()
    distances = []
    for severity in SEVERITIES:
        found = [changed(name, severity, seed) for seed in range(4)]
        for one in found:
            assert (one.shape, one.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(found[0], changed(name, severity, 0))
        distances.append(float(np.mean([np.abs(one.astype(int) - image).mean() for one in found])))
        random = name not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
        assert np.array_equal(found[0], found[1]) != random
    assert distances[0] > 0.5
    assert distances[4] > (1.1 if name == "frost" else 1.2) * distances[0]
    # The published severities of glass blur, frost and snow do not rise at each step.
    rising = np.diff(distances) > 0
    assert rising.sum() >= (2 if name in {"glass_blur", "snow", "frost"} else 4), distances


@pytest.mark.parametrize(("severity", "deviation"), enumerate((0.08, 0.12, 0.18, 0.26, 0.38), start=1))
def test_gaussian_noise_has_the_published_deviation(severity: int, deviation: float) -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    noise = corrupt(grey, "gaussian_noise", severity, np.random.default_rng(0)) / 255 - 128 / 255
    quartiles = np.quantile(noise, [0.25, 0.75])  # clipping leaves them as they are
    assert np.diff(quartiles)[0] / 1.349 == pytest.approx(deviation, rel=0.04)


@pytest.mark.parametrize(("severity", "photons"), enumerate((60, 25, 12, 5, 3), start=1))
def test_shot_noise_counts_photons(severity: int, photons: int) -> None:
    grey = np.full((128, 128, 3), 102, np.uint8)  # 0.4
    values = corrupt(grey, "shot_noise", severity, np.random.default_rng(0)) / 255
    zero = float((values == 0).mean())
    assert zero == pytest.approx(np.exp(-0.4 * photons), abs=0.01)
    assert set(np.round(values * photons, 1).ravel().tolist()) <= {
        round(k - d, 1) for k in range(61) for d in (0, 0.1, 0.2)
    }


@pytest.mark.parametrize(("severity", "share"), enumerate((0.03, 0.06, 0.09, 0.17, 0.27), start=1))
def test_impulse_noise_hits_the_published_share(severity: int, share: float) -> None:
    grey = np.full((128, 128, 3), 77, np.uint8)
    found = corrupt(grey, "impulse_noise", severity, np.random.default_rng(0))
    assert set(found.ravel().tolist()) == {0, 77, 255}
    assert (found != 77).mean() == pytest.approx(share, abs=0.008)
    assert (found == 0).mean() == pytest.approx(share / 2, abs=0.006)


@pytest.mark.parametrize(("severity", "keep"), enumerate((0.4, 0.3, 0.2, 0.1, 0.05), start=1))
def test_contrast_shrinks_towards_the_mean_of_each_channel(severity: int, keep: float) -> None:
    image = coloured()
    mean = image.reshape(-1, 3).astype(float).mean(axis=0)
    expected = (image - mean) * keep + mean
    assert np.abs(changed("contrast", severity) - expected).max() <= 1


@pytest.mark.parametrize(("severity", "more"), enumerate((0.1, 0.2, 0.3, 0.4, 0.5), start=1))
def test_brightness_raises_the_value_and_keeps_hue_and_saturation(severity: int, more: float) -> None:
    image = np.full((32, 32, 3), (100, 50, 25), np.uint8)
    factor = min(100 / 255 + more, 1) / (100 / 255)
    expected = np.array([100, 50, 25]) * factor
    assert np.abs(changed("brightness", severity, image=image)[0, 0] - expected).max() <= 1.01


@pytest.mark.parametrize(("severity", "quality"), enumerate((25, 18, 15, 10, 7), start=1))
def test_jpeg_has_the_published_quality(severity: int, quality: int) -> None:
    file = io.BytesIO()
    Image.fromarray(coloured()).save(file, "JPEG", quality=quality)
    np.testing.assert_array_equal(changed("jpeg_compression", severity), np.asarray(Image.open(file)))


@pytest.mark.parametrize(("severity", "columns"), enumerate((57, 48, 38, 28, 24), start=1))
def test_pixelate_leaves_so_many_columns(severity: int, columns: int) -> None:
    row = changed("pixelate", severity)[32]
    assert 1 + int((np.abs(np.diff(row.astype(int), axis=0)).sum(axis=1) > 0).sum()) in range(columns - 6, columns + 1)


@pytest.mark.parametrize(("severity", "radius"), enumerate((3, 4, 6, 8, 10), start=1))
def test_defocus_spreads_a_point_over_a_disc(severity: int, radius: int) -> None:
    point = np.zeros((64, 64, 3), np.uint8)
    point[28:36, 28:36] = 255
    spread = CORRUPTIONS["defocus_blur"](point, severity, np.random.default_rng(0))
    assert spread.sum() == pytest.approx(point.sum(), rel=0.02)  # the published discs gain 1 %
    lit = np.flatnonzero(spread[32, :, 0] > 0.2)
    assert abs((lit[-1] - lit[0] + 1) - (8 + 2 * radius)) <= 2


def test_motion_blur_moves_along_one_line_to_one_side() -> None:
    point = np.zeros((96, 96, 3), np.uint8)
    point[48, 48] = 255
    spread = CORRUPTIONS["motion_blur"](point, 5, np.random.default_rng(1))[..., 0]
    ys, xs = np.nonzero(spread > 0.01)
    assert spread.sum() == pytest.approx(255, rel=1e-6)
    assert spread[48, 48] == spread.max()
    angle = np.random.default_rng(1).uniform(-45, 45)
    far = np.argmax(np.hypot(ys - 48, xs - 48))
    assert np.rad2deg(np.arctan2(ys[far] - 48, xs[far] - 48)) % 360 == pytest.approx((angle + 180) % 360, abs=2)


def test_zoom_blur_keeps_the_middle_and_smears_the_border() -> None:
    lines = np.zeros((128, 128, 3), np.uint8)
    lines[::8] = 255
    found = changed("zoom_blur", 5, image=lines)[:, 64, 0].astype(float)
    assert found[56:72].std() > 2 * found[:24].std()


def test_glass_blur_only_takes_colours_from_nearby() -> None:
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 200
    found = changed("glass_blur", 1, image=halves)
    assert set(found[:, :24].ravel().tolist()) == {0}
    assert found[:, 40:].min() >= 198
    assert np.unique(found[8:56, 31]).size > 3


def test_fog_and_snow_whiten_and_frost_adds_a_photograph() -> None:
    image = coloured()
    dark = (image // 4).astype(np.uint8)
    for name in ("snow", "frost"):
        assert changed(name, 3, image=dark).mean() > 1.5 * dark.mean()
    kept = [np.corrcoef(image.ravel(), changed("fog", severity).ravel())[0, 1] for severity in (1, 5)]
    assert kept[1] < kept[0] < 0.95
    large = cv2.resize(image, (1000, 700))
    assert changed("frost", 2, image=large).shape == large.shape  # larger than the photographs


def test_elastic_transform_moves_pixels_a_little() -> None:
    y, x = np.mgrid[:128, :128]
    ramp = np.stack([x, y, x], axis=-1).astype(np.uint8)
    moved = changed("elastic_transform", 5, image=ramp).astype(int) - ramp
    inner = moved[16:-16, 16:-16]
    assert 1 < np.abs(inner).max() < 12
    assert np.abs(np.diff(inner, axis=1)).max() <= 5


def test_wrong_input_is_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(DWNetError, match="unknown corruption 'rain'; allowed are gaussian_noise, shot_noise"):
        corrupt(coloured(), "rain", 1, random)
    with pytest.raises(DWNetError, match="severity is 0; allowed are 1 to 5"):
        corrupt(coloured(), "fog", 0, random)
    for wrong in (coloured()[:31], coloured().astype(float), coloured()[..., 0]):
        with pytest.raises(DWNetError, match=r"allowed is uint8 \(H, W, 3\) with sides from 32"):
            corrupt(wrong, "fog", 1, random)
