"""The decoder agrees with a pixel-by-pixel reference at stride 4, for both kinds of context."""

import numpy as np
import pytest
import torch

from dwnet.segmentation import Backbone, DeepLabV3Plus, NetworkSpec, PSPNet, PSPNetDecoder
from dwnet.segmentation.decoder import Decoder
from tests.references import resize_loop
from tests.segmentation.reference_layers import random_norms, unit


@pytest.mark.parametrize("segmenter", ["deeplabv3plus", "pspnet_decoder"])
def test_the_decoder_joins_the_resized_context_and_the_low_level_map(segmenter: str) -> None:
    torch.manual_seed(0)
    network = NetworkSpec(segmenter=segmenter, backbone="mobilenetv2", channels=4).build(3).double().eval()
    decoder = network.get_submodule("decoder")
    assert isinstance(decoder, Decoder)
    random_norms(decoder)
    image = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        stages = network.get_submodule("backbone")(image)
        if isinstance(network, DeepLabV3Plus):
            context = network.aspp(stages[-1])
        else:
            assert isinstance(network, PSPNetDecoder)
            context = network.bottleneck(network.pyramid(stages[-1]))
        low = unit(stages[1][0].numpy(), decoder.low_level)
        joined = np.concatenate([resize_loop(context[0].numpy(), (8, 12)), low])
        for layer in decoder.convolutions:
            joined = unit(unit(joined, layer.get_submodule("0")), layer.get_submodule("1"))
        found = network.features(image)[0].numpy()
    assert low.shape == (48, 8, 12)
    np.testing.assert_allclose(found, joined, atol=1e-9 * joined.max())


def test_the_context_is_pspnets() -> None:
    """A PSPNet with the same weights gives the same values."""
    torch.manual_seed(0)
    network = NetworkSpec(segmenter="pspnet_decoder", backbone="mobilenetv2", channels=8).build(3).eval()
    plain = NetworkSpec(backbone="mobilenetv2", channels=8).build(3).eval()
    assert isinstance(network, PSPNetDecoder)
    assert isinstance(plain, PSPNet)
    weights = {name: value for name, value in network.state_dict().items() if not name.startswith("decoder.")}
    plain.load_state_dict(weights)
    with torch.no_grad():
        stages = network.backbone(torch.rand(1, 3, 32, 48))
        assert torch.equal(network.bottleneck(network.pyramid(stages[-1])), plain._decode(stages))


def test_the_low_level_map_is_the_papers_conv2() -> None:
    with torch.device("meta"):
        decoder = Decoder(Backbone("resnet50", output_stride=16), 256, 256)
    assert decoder.low_level.get_submodule("0").weight.shape == (48, 256, 1, 1)


@pytest.mark.parametrize("kind", [DeepLabV3Plus, PSPNetDecoder])
def test_a_backbone_without_a_map_of_stride_4_is_refused(kind: type[DeepLabV3Plus] | type[PSPNetDecoder]) -> None:
    with torch.device("meta"):
        backbone = Backbone("mobilenetv2")
        backbone.strides = (2, 8, 16)
        with pytest.raises(ValueError, match=r"maps have strides \(2, 8, 16\), a decoder needs stride 4"):
            kind(backbone, num_classes=3)
