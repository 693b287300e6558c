"""PSPNet with DeepLabV3+'s decoder: pyramid pooling for context, features at stride 4 for thin objects."""

from torch import Tensor

from dwnet.core.errors import DWNetError
from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.decoder import LOW_LEVEL_STRIDE, Decoder
from dwnet.segmentation.heads import DilatedSegmenter, conv_bn_relu
from dwnet.segmentation.pspnet import PyramidPooling


class PSPNetDecoder(DilatedSegmenter):
    """`PSPNet` up to its bottleneck, followed by `Decoder`, which computes F_t. No paper has this combination.

    The dilation rates of DeepLabV3+'s ASPP are made for large crops: in a small map most taps fall outside. Means over
    bins fit any crop.

    Args:
        backbone: its last map enters the pyramid, its map of stride 4 the decoder, the map before the last the
            auxiliary head.
        num_classes: K.
        channels: C of the bottleneck, of the pyramid's four pooled maps together, of the decoder and of F_t. None is
            256, as in DeepLabV3+.
        dropout: rate in front of the classifiers; see `PSPNet`.
        auxiliary: adds PSPNet's auxiliary head (training only).

    Raises:
        DWNetError: if the channels are not a multiple of 4, or the backbone has no map of stride 4.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        channels: int | None = None,
        dropout: float = 0.0,
        auxiliary: bool = True,
    ) -> None:
        channels = 256 if channels is None else channels
        if channels % 4:
            raise DWNetError(f"channels is {channels}, allowed are multiples of 4")
        super().__init__(backbone, num_classes=num_classes, channels=channels, stride=LOW_LEVEL_STRIDE)
        inputs = backbone.channels[-1]
        self.pyramid = PyramidPooling(inputs, channels // 4)
        self.bottleneck = conv_bn_relu(inputs + channels, channels, 3)
        self.decoder = Decoder(backbone, channels, channels)
        self._add_classifiers(dropout=dropout, auxiliary=auxiliary)

    def _decode(self, stages: list[Tensor]) -> Tensor:
        return self.decoder(self.bottleneck(self.pyramid(stages[-1])), stages)
