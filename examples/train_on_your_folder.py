"""Checks a folder of labelled images, trains a small network with DWNet on it, and evaluates the network.

    python examples/train_on_your_folder.py data/own --epochs 20
    python examples/train_on_your_folder.py data/demo --make 8 --epochs 1

The folder has classes.json, train/images/, train/labels/, val/images/ and val/labels/ (docs/guides/own-data.md).
`--make N` first writes N rendered images per split into a new folder, to try the script. The neighbour of each image is
made from the image itself. The run is in runs/NAME. `dwnet export runs/NAME/last.pt` then writes the network as ONNX
for `dwnet compare` and `dwnet flicker`. The script needs a clone of the repository and the extra `train`.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2

from dwnet.core.classes import CAMVID_11
from dwnet.data.check import check, describe
from dwnet.data.open import open_data
from dwnet.street import StreetScene
from train.main import main as train


def make_folder(root: Path, count: int) -> None:
    """Writes `count` rendered street images and their labels for each split, and classes.json."""
    root.mkdir(parents=True, exist_ok=False)
    classes = [
        {"name": name, "id": index, "colour": colour}
        for index, (name, colour) in enumerate(zip(CAMVID_11.classes, CAMVID_11.palette, strict=True))
    ]
    (root / "classes.json").write_text(json.dumps({"name": "demo", "classes": classes}))
    for seed, split in enumerate(("train", "val")):
        street = StreetScene(seed=seed, width=192, height=144)
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True)
        for number in range(count):
            frame = street.render(20 * number)
            name = f"{number:04d}.png"
            cv2.imwrite(str(root / split / "images" / name), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
            cv2.imwrite(str(root / split / "labels" / name), frame.labels)


def main() -> int:
    """Checks the folder and trains; returns the exit status of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder of images")
    parser.add_argument("--make", type=int, metavar="N", help="first write N rendered images per split into the folder")
    parser.add_argument("--name", default="your_folder", help="name of the run")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4, help="images per step")
    parser.add_argument("--crop", type=int, nargs=2, default=(128, 128), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--backbone-weights", default="imagenet", help="imagenet, none, or a file")
    options = parser.parse_args()

    if options.make is not None:
        make_folder(options.root, options.make)
    for split in ("train", "val"):
        result = check(lambda split=split: open_data("own", options.root, split))
        print(*result.problems, describe(split, result), sep="\n")
        if result.problems:
            return 1
    settings = {
        "recipe": "camvid_lite0_dwnet",
        "dataset": "own",
        "root": options.root,
        "name": options.name,
        "output": options.output,
        "epochs": options.epochs,
        "batch-size": options.batch_size,
        "backbone-weights": options.backbone_weights,
        "pictures": 0,
    }
    arguments = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return train([*arguments, "--data.crop", *map(str, options.crop)])


if __name__ == "__main__":
    sys.exit(main())
