"""DeepLabV3+ (Chen et al., ECCV 2018): atrous spatial pyramid pooling, and a decoder at stride 4."""

import torch
from torch import Tensor, nn

from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.decoder import LOW_LEVEL_STRIDE, Decoder
from dwnet.segmentation.heads import DilatedSegmenter, conv_bn_relu, separable_conv_bn_relu


class DeepLabV3Plus(DilatedSegmenter):
    """Backbone, ASPP, and a decoder that computes F_t at stride 4 from ASPP's map and the low-level map.

    The 3x3 convolutions of ASPP and decoder are separable, as in the network of the paper's title (section 3.1; section
    4.3 reports similar accuracy at 33 to 41 % fewer multiply-adds). The paper's ablations on ResNet-101 use plain ones.

    Deviation: the published code has dropout within ASPP. It would be part of F_t, so it is left out here.

    Args:
        backbone: its last map enters ASPP, its map of stride 4 the decoder, the map before the last the auxiliary head.
        num_classes: K.
        channels: C of ASPP, of the decoder and of F_t; None is the paper's 256.
        dropout: rate in front of the classifiers; see `PSPNet`.
        auxiliary: adds PSPNet's auxiliary head (training only), which the paper of DeepLabV3+ does not have.

    Raises:
        DWNetError: if the backbone has no map of stride 4.
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
        super().__init__(backbone, num_classes=num_classes, channels=channels, stride=LOW_LEVEL_STRIDE)
        # 6, 12, 18 at output stride 16, doubled at 8 (DeepLabV3, section 3.3).
        rates = tuple(rate * 16 // backbone.strides[-1] for rate in (6, 12, 18))
        self.aspp = ASPP(backbone.channels[-1], channels, rates=rates)
        self.decoder = Decoder(backbone, channels, channels)
        self._add_classifiers(dropout=dropout, auxiliary=auxiliary)

    def _decode(self, stages: list[Tensor]) -> Tensor:
        return self.decoder(self.aspp(stages[-1]), stages)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1 and dilated 3x3 convolutions and the image's mean, concatenated, then 1x1.

    Args:
        in_channels: channels of the input.
        out_channels: channels of each branch and of the output.
        rates: dilations of the 3x3 branches, in pixels of the map.
    """

    def __init__(self, in_channels: int, out_channels: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.rates = rates
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(in_channels, out_channels, 1),
                *(separable_conv_bn_relu(in_channels, out_channels, dilation=rate) for rate in rates),
            ]
        )
        self.image_pooling = conv_bn_relu(in_channels, out_channels, 1)
        self.project = conv_bn_relu((len(rates) + 2) * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, out_channels, H, W) for (B, in_channels, H, W)."""
        # `mean` replaces adaptive pooling, which exports to ONNX for one size only.
        mean = self.image_pooling(x.mean(dim=(-2, -1), keepdim=True))
        whole = mean.expand(-1, -1, x.shape[-2], x.shape[-1])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), whole], dim=1))
