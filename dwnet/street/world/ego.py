"""Motion of the camera's car: speed, drift in the lane, shaking and swerving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwnet.street.geometry import Array, look_rotation
from dwnet.street.textures.synthesis import Generator
from dwnet.street.world.plan import LANE_M, Road

CAMERA_HEIGHT_M = 1.4


def smooth_step(x: Array | float) -> Array:
    """Returns 0 for x below 0, 1 for x above 1, and a smooth transition between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class Ego:
    """Motion of the camera's car."""

    time: Array
    distance: Array
    """Position along the road at each `time` [m]."""
    wander: Array
    """(3, 3) rows of amplitude [m], frequency [Hz] and phase [radians] of the slow drift in the lane."""
    shake: Array
    """(6, 4) columns of amplitude of pitch [radians], roll [radians] and height [m], and frequency [Hz]."""
    moves: tuple[tuple[float, float, float], ...]
    """Swerves around cyclists: (s of the start, s of the end, offset to the right), in metres."""

    @classmethod
    def draw(cls, rng: Generator, seconds: float) -> Ego:
        """Draws a drive at about 4 to 11 m/s. Half of all drives slow down to about 3 m/s once."""
        time = np.arange(-1.0, seconds + 4.0, 0.02)
        knots = np.arange(-4.0, seconds + 8, 3.0)
        speed = rng.uniform(6.0, 10.0) + rng.uniform(-2.2, 2.2, len(knots))
        if rng.random() < 0.5:
            speed[int(rng.integers(2, len(knots)))] = 3.0
        speeds = np.interp(time, knots, np.clip(speed, 2.5, 11.5))
        kernel = np.hanning(101) / np.hanning(101).sum()
        speeds = np.convolve(np.pad(speeds, 50, mode="edge"), kernel, "valid")
        distance = np.cumsum(speeds) * 0.02
        distance -= np.interp(0.0, time, distance)
        wander = np.stack([rng.uniform(0.04, 0.12, 3), rng.uniform(0.05, 0.3, 3), rng.uniform(0, 6.28, 3)])
        shake = np.stack(
            [[r * rng.uniform(0.0003, 0.0011), r * rng.uniform(0.0003, 0.0009), r * rng.uniform(0.001, 0.004),
              rng.uniform(0.7, 7.0)] for r in (2.2, 1.6, 1.2, 1.0, 0.8, 0.6)]
        )  # fmt: skip
        return cls(time, distance, wander, shake, ())

    def s(self, seconds: float) -> float:
        """Returns the position of the camera along the road [m]."""
        return float(np.interp(seconds, self.time, self.distance))

    def slowest(self, begin: float, end: float) -> float:
        """Returns the position along the road at which the camera is slowest between two times [m]."""
        inside = (self.time >= begin) & (self.time <= end)
        return float(self.distance[inside][np.argmin(np.gradient(self.distance)[inside])])

    def d(self, seconds: float) -> float:
        """Returns the offset of the camera from the road's middle line [m], positive to the right."""
        amplitude, frequency, phase = self.wander
        drift = float((amplitude * np.sin(2 * np.pi * frequency * seconds + phase)).sum())
        s = self.s(seconds)
        for start, end, sideways in self.moves:
            drift += sideways * float(smooth_step((s - start) / 9) * (1 - smooth_step((s - end) / 9)))
        return -LANE_M + drift

    def pose(self, seconds: float, road: Road) -> tuple[Array, Array]:
        """((3,) position [m], (3, 3) rotation) of the camera."""
        s, step = self.s(seconds), 0.1
        here, ahead = road.at(s, self.d(seconds), 0.0), road.at(self.s(seconds + step), self.d(seconds + step), 0.0)
        direction = ahead - here
        # A mean of the road's heading and the direction of motion, which includes sideways motion in the lane.
        yaw = 0.75 * road.angle(s + 4) + 0.25 * float(np.arctan2(direction[0], direction[2]))
        frequency = self.shake[:, 3]
        waves = np.sin(2 * np.pi * frequency * seconds + np.arange(6) * 1.7)
        second = np.sin(2 * np.pi * frequency * 1.13 * seconds + np.arange(6) * 2.9)
        third = np.sin(2 * np.pi * frequency * 0.91 * seconds + np.arange(6) * 0.6)
        pitch = float((self.shake[:, 0] * waves).sum())
        roll = float((self.shake[:, 1] * second).sum())
        heave = float((self.shake[:, 2] * third).sum())
        return here + np.array([0, CAMERA_HEIGHT_M + heave, 0]), look_rotation(yaw, pitch - 0.012, roll)
