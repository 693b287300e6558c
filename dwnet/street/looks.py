"""Weather, light and camera of the rendered street."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StreetLook:
    """Weather, light and camera."""

    name: str
    sky: str
    """Texture of the sky."""
    sky_brightness: float
    ambient: tuple[float, float, float]
    """Linear light from the sky."""
    sun: tuple[float, float, float]
    """Linear light from the sun at vertical incidence."""
    elevation_deg: float
    haze: tuple[float, float, float]
    haze_m: float
    glow: float
    """Brightness of lamps and lit windows."""
    wet: float
    """Wetness of the road: 0 dry .. 1 mirroring."""
    shadow_softness: float
    """Standard deviation of the shadows' edges [pixels at 360 rows]."""
    contrast: float
    noise: float
    """Sensor noise, standard deviation [grey levels]."""
    exposure_ms: float
    """Exposure time [ms]. Moving objects blur along their path during the exposure."""
    headlights: float = 0.0
    """Brightness of the headlights of the camera's car."""
    street_lamps: float = 0.0
    """Brightness of the ground below the street lamps."""
    exposure_drift: float = 0.05
    """Amplitude of the slow drift of the exposure, as a factor."""
    lens_blur: float = 0.55
    """Standard deviation of the lens blur [pixels at 360 rows]."""
    quality: tuple[int, int] = (78, 94)
    """JPEG quality at the end and at the start of each group of frames. It falls within a group, as in a codec."""


_ALL = (
    StreetLook(
        "day", sky="sky_fair", sky_brightness=1.10, ambient=(0.44, 0.475, 0.54), sun=(1.30, 1.20, 1.0),
        elevation_deg=42, haze=(0.86, 0.89, 0.93), haze_m=420, glow=0.0, wet=0.0, shadow_softness=0.7, contrast=1.12,
        noise=2.2, exposure_ms=5.0,
    ),
    StreetLook(
        "overcast", sky="sky_grey", sky_brightness=1.10, ambient=(0.86, 0.88, 0.92), sun=(0.10, 0.10, 0.10),
        elevation_deg=80, haze=(0.80, 0.81, 0.83), haze_m=330, glow=0.0, wet=0.0, shadow_softness=2.2, contrast=1.05,
        noise=2.6, exposure_ms=8.0,
    ),
    StreetLook(
        "dusk", sky="sky_dusk", sky_brightness=1.0, ambient=(0.13, 0.145, 0.19), sun=(0.05, 0.035, 0.02),
        elevation_deg=70, haze=(0.50, 0.44, 0.45), haze_m=330, glow=0.95, wet=0.0, shadow_softness=2.2, contrast=1.0,
        noise=4.0, exposure_ms=14.0, headlights=0.15, street_lamps=0.06,
    ),
    StreetLook(
        "wet", sky="sky_grey", sky_brightness=1.0, ambient=(0.52, 0.55, 0.60), sun=(0.05, 0.05, 0.05), elevation_deg=80,
        haze=(0.70, 0.72, 0.75), haze_m=190, glow=0.35, wet=0.62, shadow_softness=2.4, contrast=1.05, noise=3.2,
        exposure_ms=10.0,
    ),
    StreetLook(
        "night", sky="sky_night", sky_brightness=1.0, ambient=(0.030, 0.032, 0.042), sun=(0.0, 0.0, 0.0),
        elevation_deg=80, haze=(0.075, 0.07, 0.075), haze_m=260, glow=2.6, wet=0.30, shadow_softness=2.4, contrast=1.0,
        noise=5.0, exposure_ms=20.0, headlights=1.5, street_lamps=0.30, quality=(66, 88),
    ),
)  # fmt: skip
LOOKS: dict[str, StreetLook] = {look.name: look for look in _ALL}
"""The looks by name. A scene without a given look draws one from its seed."""

SHARES = {"day": 0.45, "overcast": 0.22, "dusk": 0.09, "wet": 0.14, "night": 0.10}
"""Probability of each look."""
