"""Writes a drive through the rendered street as an H.264 video."""

from __future__ import annotations

from pathlib import Path

from dwnet.core.errors import DWNetError
from dwnet.street.scene import StreetScene
from dwnet.video import VideoWriter


def write_clip(
    scene: StreetScene,
    path: str | Path,
    *,
    seconds: float,
    start_seconds: float = 0.0,
    crf: int = 23,
    preset: str = "slow",
) -> int:
    """Renders a part of a drive into an MP4 file: H.264, 4:2:0, playable during download.

    Args:
        scene: the street; its width and height must be even.
        path: ends in ``.mp4``.
        seconds: length of the clip.
        start_seconds: start of the clip within the drive.
        crf: quality of libx264, 0 (lossless) to 51.
        preset: of libx264.

    Returns:
        The number of frames.

    Raises:
        DWNetError: for an argument that is not allowed, or a part that is not in the drive.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise DWNetError(f"a street clip is an .mp4 file, got {path.name!r}")
    if scene.width % 2 or scene.height % 2:
        raise DWNetError(f"a video needs an even width and height, got {scene.width} x {scene.height}")
    if not 0 <= crf <= 51:
        raise DWNetError(f"crf is 0..51, got {crf}")
    count, start = round(seconds * scene.fps), round(start_seconds * scene.fps)
    if count < 1 or start < 0 or start + count > len(scene):
        raise DWNetError(
            f"this street lasts {len(scene) / scene.fps:g} s; {seconds:g} s from {start_seconds:g} s on are not in it"
        )
    with VideoWriter(path, fps=scene.fps, size=(scene.width, scene.height), preset=preset, crf=crf) as writer:
        for frame in scene.frames(count, start=start):
            writer.write(frame.image)
    return count
