"""`dwnet street`."""

from pathlib import Path
from typing import Literal

import tyro

from dwnet.core.progress import Progress


def street(
    output: tyro.conf.Positional[Path],
    /,
    seed: int = 0,
    seconds: float = 8.0,
    start_seconds: float = 0.0,
    look: Literal["day", "overcast", "dusk", "wet", "night"] | None = None,
    size: tuple[int, int] = (480, 360),
    crf: int = 20,
    truth: Path | None = None,
) -> None:
    """Render a clip of a synthetic street: a drive with traffic, H.264, 25 frames per second.

    Args:
        output: the MP4 file to write.
        seed: random seed of the street.
        seconds: length of the clip, in seconds.
        start_seconds: start of the clip within the 40 s of the drive.
        look: light and weather; default: chosen by the seed.
        size: width and height, in pixels.
        crf: H.264 quality, 0 (lossless) to 51.
        truth: also write labels, instances, depth, flow and occlusion of every frame to this folder. `dwnet flicker`
            reads it with --flow and --truth.
    """
    from dwnet.street import StreetScene, write_clip, write_truth

    scene = StreetScene(seed, width=size[0], height=size[1], look=look)
    frames = write_clip(scene, output, seconds=seconds, start_seconds=start_seconds, crf=crf)
    print(f"{output}: {frames} frames, {output.stat().st_size / 1e6:.1f} MB")
    if truth is not None:
        progress = Progress("truth")
        write_truth(scene, truth, count=frames, start=round(start_seconds * scene.fps), progress=progress)
        progress.close()
        print(f"{truth}: labels, instances, depth, flow and occlusion of {frames} frames")
