"""Measures the flicker of two folders of label PNGs on one clip, and prints a table.

    python examples/measure_png_predictions.py frames predictions/before predictions/after --truth labels

The clip is a video file or a folder of frames. A folder of predictions has one PNG of class ids per frame. With true
labels the table also has the mIoU. `--output DIR` also writes a JSON file, a CSV file and an HTML page. The light
install is enough.
"""

import argparse
from pathlib import Path

import dwnet


def main() -> None:
    """Measures the predictions and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, help="a video file, or a folder of frames")
    parser.add_argument("first", type=Path, help="a folder of label PNGs")
    parser.add_argument("second", type=Path, help="another folder of label PNGs")
    parser.add_argument(
        "--names", nargs=2, default=["before", "after"], help="names of the two predictions in the table"
    )
    parser.add_argument("--truth", type=Path, help="a folder of true labels")
    parser.add_argument("--output", type=Path, help="folder for the reports; default: no files")
    options = parser.parse_args()
    if len(set(options.names)) < 2:
        parser.error(f"--names are {' and '.join(options.names)}; allowed are two different names")

    report = dwnet.measure_flicker(
        options.clip,
        dict(zip(options.names, (options.first, options.second), strict=True)),
        truth=options.truth,
        output=options.output,
    )
    print(report.table())


if __name__ == "__main__":
    main()
