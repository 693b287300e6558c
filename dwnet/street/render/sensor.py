"""The camera of the rendered street: motion blur, lens, exposure, noise and compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.street.looks import StreetLook

GROUP_FRAMES = 12
"""Frames between two key frames of the imitated codec."""
_NOISE_ROOM = 256
_MAX_TAPS = 12
SMEAR_STEP = 2
"""Motion during an exposure is computed for every second row and column."""


class Sensor:
    """Simulates a cheap dashcam. It turns the light of a frame into a recorded picture, a function of (seed, frame)."""

    def __init__(self, look: StreetLook, seed: int, height: int, width: int, fps: float) -> None:
        self.look, self.seed, self.fps = look, seed, fps
        self.height, self.width = height, width
        rng = np.random.default_rng([seed, 1])
        tile = rng.standard_normal((_NOISE_ROOM, _NOISE_ROOM, 3), dtype=np.float32)
        tile = cv2.GaussianBlur(tile, (0, 0), 0.45, borderType=cv2.BORDER_REFLECT) * 1.6 * look.noise
        grain = np.clip(np.rint(tile + 128), 0, 255).astype(np.uint8)
        rows, cols = 1 - (-height // _NOISE_ROOM), 1 - (-width // _NOISE_ROOM)
        self._grain = np.tile(grain, (rows, cols, 1))

    def expose(self, image: NDArray[np.uint8], smear_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        """Returns the picture with motion blur: the mean along the path of each pixel during the exposure.

        `smear_px` (2, ceil(H / 2), ceil(W / 2)) is the motion (dx, dy) in pixels of every second row and column during
        the exposure. The path is centred on the pixel, because labels and flow are those of mid-exposure. Each pixel
        averages along its own path, so a moving object does not blur over a static one. None returns `image`.
        """
        if smear_px is None:
            return image
        speed = float(np.quantile(np.abs(smear_px[:, ::4, ::4]), 0.98))
        if speed < 0.7:
            return image
        taps = min(_MAX_TAPS, 2 + round(speed))
        height, width = image.shape[:2]
        fine = [cv2.resize(way, (width, height), interpolation=cv2.INTER_NEAREST) for way in smear_px]
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        at_x, at_y = np.empty((2, height, width), np.float32)
        total = np.zeros(image.shape, np.uint16)
        for place in ((np.arange(taps) + 0.5) / taps - 0.5).astype(np.float32):
            # Steps are about one pixel, so the nearest pixel is accurate enough.
            np.multiply(fine[0], place, out=at_x)
            np.multiply(fine[1], place, out=at_y)
            at_x += x
            at_y += y
            moved = cv2.remap(image, at_x, at_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            cv2.add(total, moved, total, dtype=cv2.CV_16U)
        return cv2.convertScaleAbs(total, alpha=1 / taps)

    def record(self, image: NDArray[np.uint8], t: int) -> NDArray[np.uint8]:
        """Returns the JPEG file of frame `t`, (n,) uint8, with lens blur, exposure drift, contrast and noise."""
        look = self.look
        if look.lens_blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), look.lens_blur * self.height / 360)
        seconds = t / self.fps
        drift = 1 + look.exposure_drift * (
            0.6 * np.sin(0.7 * seconds + self.seed) + 0.4 * np.sin(1.9 * seconds + 2 * self.seed)
        )
        top, left = np.random.default_rng([self.seed, 2, t]).integers(0, _NOISE_ROOM, 2)
        grain = self._grain[top : top + self.height, left : left + self.width]
        shift = 118 * (1 - look.contrast) - 128 * look.contrast
        noisy = cv2.addWeighted(image, float(drift) * look.contrast, grain, look.contrast, shift)
        return self._compress(noisy, t)

    def plain(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the picture with the camera's contrast and no other effect."""
        return cv2.convertScaleAbs(
            cv2.addWeighted(image, self.look.contrast, image, 0, 118 * (1 - self.look.contrast)), alpha=1
        )

    def _compress(self, image: NDArray[np.uint8], t: int) -> NDArray[np.uint8]:
        low, high = self.look.quality
        quality = round(high - (high - low) * (t % GROUP_FRAMES) / (GROUP_FRAMES - 1))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return data


def decoded(file: NDArray[np.uint8]) -> NDArray:
    """Returns the picture of an encoded file: (H, W, 3) uint8 for `Sensor.record`, the file's own type for a PNG.

    Raises:
        DWNetError: if the file cannot be decoded.
    """
    image = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DWNetError(f"found {file.size} bytes that are no picture")
    return image
