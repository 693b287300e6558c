"""Accuracy of a segmentation: confusion matrix, IoU per class, mIoU, pixel accuracy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_labels, as_numpy, check_class_ids
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import confusion_matrix, iou_percent, mean_percent, percent
from dwnet.metrics.meter import ClassMeter, class_counts


@dataclass(frozen=True)
class SegmentationResult:
    """The result of a `SegmentationMeter`. Rates are in percent."""

    miou_percent: float | None
    """Mean intersection over union over the classes. Classes absent from prediction and truth are left out."""
    per_class_iou_percent: tuple[float | None, ...]
    """IoU of each class id; None for an absent class."""
    pixel_accuracy_percent: float | None
    """Share of the labelled pixels that are predicted correctly."""
    absent_classes: tuple[int, ...]
    """Ids of the classes in neither prediction nor truth."""
    pixels: int
    """Number of labelled pixels counted."""


class SegmentationMeter(ClassMeter):
    """Confusion matrix, IoU per class, mIoU and pixel accuracy over a whole set (not a mean over images).

    ``IoU_c = TP_c / (TP_c + FP_c + FN_c)`` (Everingham et al., PASCAL VOC; Long et al., CVPR 2015), over the pixels
    whose truth is not `IGNORE_LABEL`. In these pixels a prediction of `IGNORE_LABEL` counts as wrong.

    Args:
        num_classes: number of classes; ids are 0 .. num_classes - 1.
    """

    class_axes: ClassVar = {"confusion": 2, "missed": 1}

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            num_classes,
            confusion=class_counts(num_classes, axes=2),
            missed=class_counts(num_classes, axes=1),
        )

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) pixels by true class and predicted class."""
        return self._arrays["confusion"]

    @property
    def missed(self) -> NDArray[np.int64]:
        """(K,) pixels by true class that were predicted as no class."""
        return self._arrays["missed"]

    def update(self, prediction: Array, target: Array) -> None:
        """Counts one label map, or a batch of them.

        Args:
            prediction: (..., H, W) integers, class ids and `IGNORE_LABEL`.
            target: the same shape, class ids and `IGNORE_LABEL`.

        Raises:
            DWNetError: for different shapes, labels that are not integers, or a label that is not a class. Nothing is
                counted in this case.
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
        self._arrays["missed"] += np.bincount(true[~known], minlength=self.num_classes)
        self._arrays["confusion"] += confusion_matrix(true[known], predicted[known], self.num_classes)

    def compute(self) -> SegmentationResult:
        """Returns the rates over everything counted so far."""
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
    """Returns the mIoU in percent of one label map or batch; None if no pixel is labelled."""
    meter = SegmentationMeter(num_classes)
    meter.update(prediction, target)
    return meter.compute().miou_percent
