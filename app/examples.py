"""The clips of the gallery, with a picture of each."""

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2

from dwnet.core.bundled import assets_folder
from dwnet.video import VideoError, open_video

TITLES = {
    "street_sample": "Street by day",
    "street_crossing": "Crossing",
    "street_night": "Street at night",
}
THUMBNAIL_PX = 192


@dataclass(frozen=True)
class Example:
    """A clip of the gallery."""

    title: str
    path: Path
    picture: str
    """Data URI of a JPEG."""


def examples(first: Path | None) -> list[Example]:
    """Returns the clips of the gallery.

    Args:
        first: a clip of the operator, which comes first; None shows the bundled ones only.
    """
    paths = [assets_folder() / f"{name}.mp4" for name in TITLES]
    if first is not None:
        paths = [first, *(path for path in paths if path.resolve() != first.resolve())]
    return [
        Example(TITLES.get(path.stem, path.name), path, picture)
        for path in paths
        if path.is_file() and (picture := _thumbnail(path)) is not None
    ]


def style(shown: list[Example]) -> str:
    """Returns the CSS that puts the pictures on the buttons ``#example-0``, ``#example-1``, ..."""
    return "".join(
        f"#example-{place} {{ background-image: linear-gradient(#0000 45%, #000c), url({one.picture}); }}\n"
        for place, one in enumerate(shown)
    )


def _thumbnail(path: Path) -> str | None:
    """Returns the first frame as a data URI; None if the clip cannot be read. Choosing it says why."""
    try:
        with open_video(path, max_side=THUMBNAIL_PX) as reader:
            image = next(iter(reader)).image
    except (VideoError, StopIteration):
        return None
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 75])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode() if done else None
