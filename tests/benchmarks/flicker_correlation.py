"""Rank correlation of the flip rate, which needs no labels, with the true flicker error, on CamVid's 15 Hz sequence.

    python tests/benchmarks/flicker_correlation.py CAMVID/val [--models assets/models]

CamVid's val split is one drive with every second raw frame labelled, so both frames of each pair have true labels.
Twelve sets of predictions are compared. None was selected by its result. They are the three exported models; the
baseline (and once DWNet) on frames with noise, blur or fewer pixels; and the labels of the baseline or of DWNet,
smoothed along the flow, held, delayed or with random blocks. The script prints mIoU, flip rate and flicker error of
each set, and the rank correlations over the sets.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from dwnet.core.class_labels import ClassLabels
from dwnet.deploy.runtime import argmax_labels, load
from dwnet.flicker import measure_clip, open_flow, open_predictions
from dwnet.flicker.open_labels import open_label_maps
from dwnet.flicker.predictions import FilePredictions
from dwnet.flow import dis_flow
from dwnet.video import image_files, open_video

VOID = 11
CLASSES = 11
Image = np.ndarray


def noise(sigma: float) -> Callable[[Image, int], Image]:
    """Returns a function that adds Gaussian noise of `sigma` grey levels, different in each frame."""

    def degrade(image: Image, index: int) -> Image:
        drawn = np.random.default_rng(index).normal(0, sigma, image.shape)
        return np.clip(image + drawn, 0, 255).round().astype(np.uint8)

    return degrade


def blur(image: Image, index: int) -> Image:
    """Gaussian blur with a standard deviation of 2 px."""
    return cv2.GaussianBlur(image, (0, 0), 2.0)


def half(image: Image, index: int) -> Image:
    """The frame reduced to half its size and enlarged again."""
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)


def clean(image: Image, index: int) -> Image:
    """The unchanged frame."""
    return image


def scores(model: Path, frames: list[Image], degrade: Callable[[Image, int], Image]) -> Iterator[np.ndarray]:
    """Yields the logits of a network for each frame."""
    network = load(model)
    for index, frame in enumerate(frames):
        image = degrade(frame, index)
        reference = network.reference
        yield network.logits(image, None if reference is None else dis_flow(image, reference))


def smoothed(logits: Iterator[np.ndarray], frames: list[Image]) -> Iterator[np.ndarray]:
    """Yields labels of class probabilities averaged with the previous average, which is warped along DIS flow."""
    average: np.ndarray | None = None
    for index, one in enumerate(logits):
        exponential = np.exp(one - one.max(axis=0))
        now = exponential / exponential.sum(axis=0)
        if average is not None:
            flow = dis_flow(frames[index], frames[index - 1])
            y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
            moved = [
                cv2.remap(p, x + flow[0], y + flow[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for p in average
            ]
            now = 0.5 * now + 0.5 * np.stack(moved)
        average = now.astype(np.float32)
        yield argmax_labels(average)


def random_blocks(labels: np.ndarray, share: float) -> np.ndarray:
    """Returns labels in which a `share` of the 24 x 24 blocks of each frame has one random class."""
    rng = np.random.default_rng(7)
    out = labels.copy()
    for ids in out:
        for top in range(0, ids.shape[0], 24):
            for left in range(0, ids.shape[1], 24):
                if rng.random() < share:
                    ids[top : top + 24, left : left + 24] = rng.integers(CLASSES)
    return out


def prediction_sets(models: Path, frames: list[Image]) -> dict[str, np.ndarray]:
    """Returns the sets of predictions by name, (T, H, W) class ids."""
    inputs = {
        "baseline": ("baseline", clean),
        "static warp": ("static_warp", clean),
        "dwnet": ("dwnet", clean),
        "baseline, noise 12": ("baseline", noise(12)),
        "baseline, noise 25": ("baseline", noise(25)),
        "dwnet, noise 25": ("dwnet", noise(25)),
        "baseline, blur 2 px": ("baseline", blur),
        "baseline, half size": ("baseline", half),
    }
    sets = {}
    for name, (model, degrade) in inputs.items():
        path = models / f"{model}.onnx"
        sets[name] = np.stack([argmax_labels(one) for one in scores(path, frames, degrade)])
        print(f"made: {name}", flush=True)
    sets["baseline, smoothed"] = np.stack(list(smoothed(scores(models / "baseline.onnx", frames, clean), frames)))
    base = sets["baseline"]
    sets["baseline, held for 3"] = base[np.arange(len(base)) // 3 * 3]
    sets["baseline, one frame late"] = base[np.maximum(np.arange(len(base)) - 1, 0)]
    sets["dwnet, 2 % random blocks"] = random_blocks(sets["dwnet"], 0.02)
    return sets


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks, 1 for the smallest value. Equal values get their mean rank."""
    return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Spearman's rank correlation, -1..1."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Kendall's tau: (pairs in the same order - pairs in the opposite order) / all pairs."""
    first, second = np.triu_indices(len(a), 1)
    return float((np.sign(a[first] - a[second]) * np.sign(b[first] - b[second])).mean())


def main() -> None:
    """Computes the sets, measures them along both DIS presets, and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--models", type=Path, default=Path("assets/models"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images = options.split / "images"
    names = [file.stem for file in image_files(images)]
    frames = [frame.image for frame in open_video(images, image_fps=15)]
    sets = prediction_sets(options.models, frames)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for position, (name, ids) in enumerate(sets.items()):
            paths.append((name, Path(folder) / f"{position}.npy"))
            np.save(paths[-1][1], ids)
        for flow in ("dis", "dis_fast"):
            maps = open_label_maps(options.split / "labels", names, labels=ClassLabels(None, (VOID,)))
            result = measure_clip(
                open_video(images, image_fps=15),
                open_predictions(paths, names),
                open_flow(flow),
                truth=FilePredictions("truth", options.split / "labels", maps),
            )
            found = {name: one.tally.summary() for name, one in result.sets.items()}
            print(f"\nflow: {flow}\n\n| set | mIoU % | flips % | flicker error % | TC % | VC8 right % |")
            print("|---|---|---|---|---|---|")
            keys = ("miou_percent", "flip_rate_percent", "flicker_error_percent", "temporal_consistency_percent")
            for name, one in sorted(found.items(), key=lambda item: item[1]["flip_rate_percent"]):
                print(f"| {name} | {' | '.join(f'{one[key]:.2f}' for key in (*keys, 'vc8_correct_percent'))} |")
            columns = {key: np.array([one[key] for one in found.values()]) for key in keys}
            for against in ("flicker_error_percent", "temporal_consistency_percent", "miou_percent"):
                a, b = columns["flip_rate_percent"], columns[against]
                print(f"flip rate against {against}: Spearman {spearman(a, b):.3f}, Kendall {kendall(a, b):.3f}")


if __name__ == "__main__":
    main()
