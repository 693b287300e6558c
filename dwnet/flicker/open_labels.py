"""Opens label maps and scores on disk in any of their forms."""

from collections.abc import Sequence
from pathlib import Path

from dwnet.core.class_labels import ClassLabels
from dwnet.core.file_names import label_files
from dwnet.core.files import listed
from dwnet.core.label_images import LABEL_SUFFIXES
from dwnet.core.truth_folder import TruthFolder
from dwnet.flicker.label_maps import READABLE, LabelFolder, LabelMaps, LabelVideo
from dwnet.flicker.matching import PredictionError, match_frames
from dwnet.flicker.score_arrays import ArrayFile, ArrayFolder


def open_label_maps(
    path: Path,
    frames: Sequence[str] | int | None,
    *,
    labels: ClassLabels | None = None,
    threshold: float | None = None,
    sparse: bool = False,
) -> LabelMaps:
    """Returns the label maps or scores of a path: a folder, a video, .npy or .npz.

    For a folder that `dwnet street --truth` wrote, the subfolder labels/ is read.

    Args:
        path: the path.
        frames: names of the clip's images without suffix; for a video the number of frames, None if it is unknown.
        labels: ids and colours of the classes, and ids that are ignored; None keeps ids as they are.
        threshold: threshold of scores of one class; None uses 0.5 for probabilities and 0 for logits.
        sparse: whether some frames may have no label map (ground truth).

    Raises:
        PredictionError: for a path that does not exist or holds no predictions.
    """
    labels = labels or ClassLabels()
    if not path.exists():
        raise PredictionError(f"{path}: there is no such file or folder; allowed is {READABLE}")
    if path.is_dir():
        folder = TruthFolder(path).label_folder
        if folder.is_dir() and not label_files(path):
            path = folder
        images, arrays = label_files(path), listed(path, (".npy",))
        if bool(images) == bool(arrays):
            found = "label images and .npy files" if images else "neither label images nor .npy files"
            raise PredictionError(
                f"{path}: is a folder with {found}; allowed are label images ({', '.join(LABEL_SUFFIXES)}), or .npy "
                "files of single frames"
            )
        matched = match_frames(path, images or arrays, frames, sparse=sparse)
        if images:
            return LabelFolder(matched, labels, sparse=sparse)
        return ArrayFolder(matched, labels, threshold=threshold, sparse=sparse)
    if path.suffix.lower() in (".npy", ".npz"):
        return ArrayFile(path, labels, threshold=threshold)
    return LabelVideo(path, labels)
