"""How good a segmentation is: confusion matrix, IoU per class, mIoU, pixel accuracy."""

from dataclasses import dataclass

import numpy as np

from dwnet.core.arrays import Array, as_labels, as_numpy, check_class_ids, check_num_classes
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import confusion_matrix, grown, iou_percent, mean_percent, percent


@dataclass(frozen=True)
class SegmentationResult:
    """What a `SegmentationMeter` found; rates in percent."""

    miou_percent: float | None
    """Mean of the classes' intersection over union; classes absent from prediction and truth are left out."""
    per_class_iou_percent: tuple[float | None, ...]
    """One per class id; None for an absent class."""
    pixel_accuracy_percent: float | None
    """Share of the labelled pixels that are right."""
    absent_classes: tuple[int, ...]
    """Ids of the classes in neither prediction nor truth."""
    pixels: int
    """Labelled pixels counted."""


class SegmentationMeter:
    """Confusion matrix, IoU per class, mIoU and pixel accuracy over a whole set (not a mean over images).

    ``IoU_c = TP_c / (TP_c + FP_c + FN_c)`` (Everingham et al., PASCAL VOC; Long et al., CVPR 2015), over the pixels
    whose truth is not `IGNORE_LABEL`. Where the prediction is that, it is wrong: nobody gains by saying nothing.

    Args:
        num_classes: ids are 0 .. num_classes - 1.
    """

    def __init__(self, num_classes: int) -> None:
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.confusion = np.zeros((num_classes, num_classes), np.int64)
        """Pixels by (true class, predicted class); sum those of several meters to merge them."""
        self.missed = np.zeros(num_classes, np.int64)
        """Pixels by true class that were predicted as none; to be summed too."""

    def update(self, prediction: Array, target: Array) -> None:
        """Counts one label map, or a batch of them.

        Args:
            prediction: (..., H, W) integers, class ids and `IGNORE_LABEL`.
            target: the same shape, class ids and `IGNORE_LABEL`.

        Raises:
            ValueError: for two shapes, for labels that are not integers, or for a label that is no class. Nothing is
                counted then.
        """
        predicted, true = as_numpy(prediction), as_numpy(target)
        if predicted.shape != true.shape:
            raise DWNetError(f"prediction has shape {predicted.shape} and target {true.shape}; allowed is one shape")
        predicted = as_labels(predicted.reshape(1, -1), "prediction")
        true = as_labels(true.reshape(1, -1), "target")
        check_class_ids(true, self.num_classes, "target")
        labelled = true != IGNORE_LABEL
        predicted, true = predicted[labelled], true[labelled]
        check_class_ids(predicted, self.num_classes, "prediction")
        known = predicted != IGNORE_LABEL
        self.missed += np.bincount(true[~known], minlength=self.num_classes)
        self.confusion += confusion_matrix(true[known], predicted[known], self.num_classes)

    def grow(self, num_classes: int) -> None:
        """Makes room for more classes; ValueError for fewer than there are."""
        self.confusion = grown(self.confusion, num_classes, axes=2)
        self.missed = grown(self.missed, num_classes, axes=1)
        self.num_classes = num_classes

    def compute(self) -> SegmentationResult:
        """The rates over everything counted so far."""
        per_class = iou_percent(self.confusion, self.missed)
        pixels = int(self.confusion.sum() + self.missed.sum())
        return SegmentationResult(
            miou_percent=mean_percent(per_class),
            per_class_iou_percent=per_class,
            pixel_accuracy_percent=percent(np.trace(self.confusion), pixels),
            absent_classes=tuple(index for index, iou in enumerate(per_class) if iou is None),
            pixels=pixels,
        )


def miou(prediction: Array, target: Array, *, num_classes: int) -> float | None:
    """mIoU in percent of one label map or batch: `SegmentationMeter` in one call."""
    meter = SegmentationMeter(num_classes)
    meter.update(prediction, target)
    return meter.compute().miou_percent
