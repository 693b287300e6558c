"""The interface of all per-frame segmenters: `features(image)` and `classify(features)`."""

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from dwnet.ops.resize import resize


class Segmenter(nn.Module, ABC):
    """A per-frame segmentation network, split into `features` and `classify`.

    Subclasses define both, and set `channels` (C of the features), `stride` (image pixels per feature pixel),
    `multiple` (image sides are multiples of it; `stride` divides it) and `num_classes` (K). The features are the
    paper's F_t, the map that enters the last 1x1 classifier (section 3.1, Fig. 2).
    """

    channels: int
    stride: int
    multiple: int
    num_classes: int
    size: tuple[int, int] | None = None
    """(H, W) of the only images that the network takes, in pixels; None if it takes any multiple of `multiple`."""

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """Returns F_t (B, C, H / stride, W / stride) for (B, 3, H, W) RGB 0..1; H and W are multiples of `multiple`."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Returns logits (B, K, h', w') for features (B, C, h, w), at their size or finer."""

    def features_and_auxiliary(
        self, image: Tensor, *, labelled: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns F_t and the logits of the auxiliary heads, for training.

        Args:
            image: (B, 3, H, W), as `features` takes it.
            labelled: number of leading images whose auxiliary logits are computed; None is all. Neighbours have no
                labels.

        Returns:
            F_t (B, C, h, w) and a tuple of logits, each (labelled, K, h', w'); empty without auxiliary heads.
        """
        return self.features(image), ()

    def prepare_export(self) -> None:
        """Changes the network so that it can be exported as ONNX, in place and with the same output.

        It is called for a copy that is exported, and then thrown away. By default, nothing changes.
        """

    def forward(self, image: Tensor) -> Tensor:
        """Returns logits at the image's size.

        Args:
            image: (B, 3, H, W) float, RGB, 0..1, of any size. It is padded to multiples of `multiple` by repeating the
                right and bottom edge; the logits are cropped back.

        Returns:
            (B, K, H, W) float.
        """
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.multiple)
        logits = self.classify(self.features(padded))
        return resize(logits, (padded.shape[-2], padded.shape[-1]))[..., :height, :width]


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Returns (B, C, H, W), padded at the right and bottom to multiples of `multiple` by repeating the edge."""
    height, width = image.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if right or bottom else image
