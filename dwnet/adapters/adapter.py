"""Base class of adapters: a network of another package as a `Segmenter`."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError, first_line
from dwnet.ops.modules import unwrapped
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD
from dwnet.segmentation import Segmenter

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_STOCHASTIC_DEPTHS = ("DropPath", "StochasticDepth")  # ends of class names: each package defines its own class
_TRIAL_SIDE = 128  # pixels; smallest side of a trial image, so that the deepest map has a few pixels
_LARGEST_MULTIPLE = 64


class Adapter(Segmenter):
    """A network of another package as a `Segmenter`, split in front of its last convolution.

    The network is not copied or changed: `adapter.model is model`. The adapter adds no weights, so the model's package
    still loads, saves and runs it after training. The adapter's output equals the model's for images whose sides are
    multiples of `multiple`; other images are padded (`Segmenter.forward`).

    `stride`, `multiple`, `channels` and `num_classes` are measured by running the model on a few small images, in
    evaluation mode and without gradient.

    Args:
        model: the network. It keeps its device and precision. `nn.DataParallel`, `DistributedDataParallel` and
            `torch.compile` around it are taken off.
        mean: subtracted from RGB images of 0..1, as in the model's training (in transformers the image processor's
            `image_mean`). For a model that normalises inside: zeros, and ones as `std`.
        std: divides the difference; 1/255 for a model that takes 0..255.
        multiple: image sides are multiples of it; None finds the smallest that the model accepts.
        size: (H, W) of the only images that the model takes, such as a vision transformer whose position encodings are
            not interpolated; None if it takes several sizes. `features` refuses others, and an export has this size.
        dropout: False keeps the model's dropout and stochastic depth layers in evaluation mode while the adapter
            trains: otherwise they draw different masks for I_t and I_{t+k}, and Eq. 5 and Eq. 6 measure the difference.
            True leaves them on. Dropout that a model calls as a function cannot be switched off.

    Attributes:
        model: the given network.

    Raises:
        DWNetError: if a number is not allowed, or if the model returns no feature map, scores fewer than two classes,
            or cannot run on a small image.
    """

    wraps: ClassVar[tuple[str, ...]] = ()
    """Supported classes as "package.Class"; their subclasses are supported too."""
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        multiple: int | None = None,
        size: tuple[int, int] | None = None,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
            raise DWNetError(f"mean {tuple(mean)}, std {tuple(std)}: allowed are three numbers each, std above 0")
        if multiple is not None and multiple < 1:
            raise DWNetError(f"multiple is {multiple}, allowed are 1 and above")
        model = unwrapped(model)
        # Any: the attributes of other packages' models have no common type.
        self.model: Any = model
        self.dropout, self.size = dropout, size
        like = next(model.parameters(), torch.empty(0))
        for name, values in (("mean", mean), ("std", std)):
            buffer = torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)
        self._measure(multiple)
        self.train(model.training)

    @abstractmethod
    def encode(self, image: Tensor) -> Any:
        """Returns the encoding of a normalised image (B, 3, H, W), the input of `decode` and `auxiliary`."""

    @abstractmethod
    def decode(self, encoded: Any) -> Tensor:
        """Returns F_t (B, C, H / stride, W / stride) for an encoding."""

    def auxiliary(self, encoded: Any) -> tuple[Tensor, ...]:
        """Returns the logits (B, K, h', w') of the model's auxiliary heads for an encoding."""
        return ()

    def features(self, image: Tensor) -> Tensor:  # noqa: D102
        return self.decode(self.encode(self._normalise(self._allowed(image))))

    def features_and_auxiliary(  # noqa: D102
        self, image: Tensor, *, labelled: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        encoded = self.encode(self._normalise(self._allowed(image)))
        return self.decode(encoded), tuple(logits[:labelled] for logits in self.auxiliary(encoded))

    def train(self, mode: bool = True) -> "Adapter":
        """Sets the mode of the model; see `dropout`."""
        super().train(mode)
        if not self.dropout:
            for module in self.model.modules():
                if isinstance(module, _DROPOUTS) or type(module).__name__.endswith(_STOCHASTIC_DEPTHS):
                    module.eval()
        return self

    def _allowed(self, image: Tensor) -> Tensor:
        """Returns the image. Raises DWNetError for another size than `size`."""
        if self.size is not None and tuple(image.shape[-2:]) != tuple(self.size):
            raise DWNetError(
                f"{type(self.model).__name__} takes images of {self.size[0]} x {self.size[1]} pixels, found "
                f"{image.shape[-2]} x {image.shape[-1]}"
            )
        return image

    def _normalise(self, image: Tensor) -> Tensor:
        return ((image - self.mean) / self.std).to(self.mean.dtype)  # the model may have half precision

    def _measure(self, multiple: int | None) -> None:
        """Sets `stride`, `multiple`, `channels` and `num_classes`."""
        name = type(self.model).__name__
        sides = self.size or _sides(multiple or _LARGEST_MULTIPLE, counts=(2, 3))
        try:
            features, logits = self._try(sides)
        except Exception as error:  # models of other packages raise any exception
            raise DWNetError(
                f"{name} cannot run on an image of {sides[0]} x {sides[1]} pixels ({first_line(error)}); `multiple` "
                "sets the number that image sides are multiples of, `size` the only size that the network takes"
            ) from error
        stride = sides[0] // features.shape[2] if features.ndim == 4 else 0
        if stride == 0 or features.shape[2] * stride != sides[0] or features.shape[3] * stride != sides[1]:
            raise DWNetError(
                f"{name}: the features of an image of {sides[0]} x {sides[1]} pixels are of shape "
                f"{tuple(features.shape)}; allowed is a map (1, C, {sides[0]} / stride, {sides[1]} / stride)"
            )
        if logits.ndim != 4 or logits.shape[1] < 2:
            raise DWNetError(
                f"{name}: the logits are of shape {tuple(logits.shape)}; allowed is (1, K, h, w) with K of at least 2"
            )
        self.stride, self.channels, self.num_classes = stride, features.shape[1], logits.shape[1]
        self.multiple = stride if self.size is not None else multiple or self._smallest_multiple()

    def _smallest_multiple(self) -> int:
        for multiple in (self.stride * 2**power for power in range(_LARGEST_MULTIPLE.bit_length())):
            if multiple >= _LARGEST_MULTIPLE:
                break
            # Sides that are odd multiples of this candidate are not multiples of a larger one.
            height, width = _sides(multiple, counts=(1, 3))
            try:
                features, _ = self._try((height, width))
            except Exception:  # models of other packages raise any exception
                continue
            if tuple(features.shape[2:]) == (height // self.stride, width // self.stride):
                return multiple
        return max(_LARGEST_MULTIPLE, self.stride)

    def _try(self, sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
        image = torch.full((1, 3, *sides), 0.5, dtype=self.mean.dtype, device=self.mean.device)
        with _evaluating(self.model), torch.no_grad():
            features = self.features(image)
            return features, self.classify(features)


def _sides(multiple: int, *, counts: tuple[int, int]) -> tuple[int, int]:
    """Returns two image sides of at least `_TRIAL_SIDE` pixels: `counts` times `multiple`, times one odd number."""
    often = -(-_TRIAL_SIDE // (multiple * counts[0])) | 1
    return multiple * counts[0] * often, multiple * counts[1] * often


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Sets evaluation mode, and restores the mode of each module afterwards: parts of the model may be frozen."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
