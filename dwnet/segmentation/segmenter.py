"""The contract every per-frame segmenter keeps: `features(image)` and `classify(features)`."""

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from dwnet.ops.resize import resize


class Segmenter(nn.Module, ABC):
    """A per-frame segmentation network, split where DWNet needs it.

    Subclasses set `channels` (C of the features), `stride` (image pixels per feature pixel), `multiple` (image sides
    come in multiples of it; `stride` divides it) and `num_classes` (K), and define `features` and `classify`. F_t of
    the paper is the map that enters the last 1x1 classifier (section 3.1, Fig. 2).
    """

    channels: int
    stride: int
    multiple: int
    num_classes: int

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """F_t: (B, 3, H, W) RGB 0..1, H and W multiples of `multiple`, to (B, C, H / stride, W / stride)."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """The shared classifier: (B, C, h, w) features to (B, K, h, w) logits, of the features' size or finer."""

    def features_and_auxiliary(
        self, image: Tensor, *, labelled: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """F_t and the logits of auxiliary heads, for training.

        Args:
            image: (B, 3, H, W), as `features` takes it.
            labelled: auxiliary logits are wanted of the first so many images only; None is all. A neighbour has no
                labels.

        Returns:
            F_t (B, C, h, w), and logits, each (labelled, K, h', w'); an empty tuple without such heads.
        """
        return self.features(image), ()

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the image's size.

        Args:
            image: (B, 3, H, W) float, RGB, 0..1, of any size: it is padded (edge pixels repeated, at the right and the
                bottom) to multiples of `multiple`, and the logits are cropped back.

        Returns:
            (B, K, H, W) float.
        """
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.multiple)
        logits = self.classify(self.features(padded))
        return resize(logits, (padded.shape[-2], padded.shape[-1]))[..., :height, :width]


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeats the right and bottom edge of (B, C, H, W) until H and W are multiples of `multiple`."""
    height, width = image.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if right or bottom else image
