"""`dwnet adopt`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

Triple = tuple[float, float, float]


def adopt(
    model: tyro.conf.Positional[Path],
    /,
    classes: Path | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    white: Annotated[Literal[1, 255] | None, tyro.conf.arg(name="range")] = None,
    bgr: bool = False,
    size: tuple[int, int] | None = None,
    output: str | None = None,
    threshold: float | None = None,
    scale: float | None = None,
) -> None:
    """Make an ONNX network of another package usable wherever exported networks are.

    The model stays as it is. MODEL.dwnet.json beside it says how it is fed and read. Exports of Ultralytics' semantic
    task and of D-FINE-seg are recognised, also without this command.

    Args:
        model: an .onnx file with one image as its input.
        classes: a file with names, ids and colours of the classes. The id of a class is the channel of its score, or
            its number in a map of ids.
        mean: subtracted from the frame, in units of --range, in the order of the network's channels; default: 0 0 0.
        std: divides the difference; default: 1 1 1.
        white: frames are 0..1 or 0..255; default: 255 for a network that takes uint8, else 1.
        bgr: the network takes blue, green, red.
        size: height and width that frames are resized to; default: the file's; the frame's own if the file leaves it
            open.
        output: name of the output in the file; default: the only one.
        threshold: of a network with one score, above which a pixel is the second class; default: 0.5 after a sigmoid,
            else 0.
        scale: scale of the frame at which the network runs; default: 1.
    """
    from dwnet.core.class_files import read_class_file
    from dwnet.deploy.adopt import AdoptOptions
    from dwnet.deploy.adopt import adopt as run

    options = AdoptOptions(mean, std, white, bgr, size, output, threshold, scale)
    report = run(model, None if classes is None else read_class_file(classes), options)
    print("\n".join(report.lines))
