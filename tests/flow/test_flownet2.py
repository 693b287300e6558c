"""FlowNet2: NVIDIA's tensors, its published file format, and its arithmetic. Every layer without parameters is compared
with float64 loops, and the whole network with an independent float64 forward pass.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from dwnet.flow.flownet2 import FlowNet2, FlowNet2Flow, channel_norm, resample, subtract_mean
from dwnet.flow.registry import build_flow
from dwnet.ops.correlation import BLOCK, correlation

HEIGHT, WIDTH = 50, 40


# -- the tensors of NVIDIA's file --------------------------------------------------------------------------------------


def nvidia_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of FlowNet2_checkpoint.pth.tar, written from the published description of its networks."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, *shape: int, bias: int | None = None) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = (bias,)

    deep = {"conv4": (256, 512), "conv4_1": (512, 512), "conv5": (512, 512), "conv5_1": (512, 512)}
    deep |= {"conv6": (512, 1024), "conv6_1": (1024, 1024)}
    starts: dict[str, dict[str, tuple[int, int, int]]] = {
        "flownetc": {"conv1": (3, 64, 7), "conv2": (64, 128, 5), "conv3": (128, 256, 5)}
        | {"conv_redir": (256, 32, 1), "conv3_1": (473, 256, 3)},
        "flownets_1": {"conv1": (12, 64, 7), "conv2": (64, 128, 5), "conv3": (128, 256, 5), "conv3_1": (256, 256, 3)},
        "flownets_d": {"conv0": (6, 64, 3), "conv1": (64, 64, 3), "conv1_1": (64, 128, 3), "conv2": (128, 128, 3)}
        | {"conv2_1": (128, 128, 3), "conv3": (128, 256, 3), "conv3_1": (256, 256, 3)},
        "flownetfusion": {"conv0": (11, 64, 3), "conv1": (64, 64, 3), "conv1_1": (64, 128, 3)}
        | {"conv2": (128, 128, 3), "conv2_1": (128, 128, 3)},
    }
    starts["flownets_2"] = starts["flownets_1"]
    for network, convolutions in starts.items():
        fusion = network == "flownetfusion"
        if not fusion:
            convolutions = convolutions | {name: (*ends, 3) for name, ends in deep.items()}
        for name, (inputs, outputs, kernel) in convolutions.items():
            add(f"{network}.{name}.0", outputs, inputs, kernel, kernel, bias=outputs)
        smooth = network in ("flownets_d", "flownetfusion")
        decoded = (
            {1: (128, 32, 162), 0: (162, 16, 82)}
            if fusion
            else {5: (1024, 512, 1026), 4: (1026, 256, 770), 3: (770, 128, 386), 2: (386, 64, 194)}
        )
        top = 2 if fusion else 6
        add(f"{network}.predict_flow{top}", 2, 128 if fusion else 1024, 3, 3, bias=2)
        for level, (inputs, outputs, joined) in decoded.items():
            add(f"{network}.deconv{level}.0", inputs, outputs, 4, 4, bias=outputs)
            has_bias = network not in ("flownets_1", "flownets_2")
            add(f"{network}.upsampled_flow{level + 1}_to_{level}", 2, 2, 4, 4, bias=2 if has_bias else None)
            if smooth:
                add(f"{network}.inter_conv{level}.0", outputs, joined, 3, 3, bias=outputs)
            add(f"{network}.predict_flow{level}", 2, outputs if smooth else joined, 3, 3, bias=2)
    return shapes


def random_state() -> dict[str, Tensor]:
    """Returns weights that keep the size of signals and give flows of a few pixels, so that every part matters.

    All tensors are taken from one pool of random numbers, because drawing 162 million takes seconds.
    """
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(10_000_000, generator=generator)
    state = {}
    for index, (name, shape) in enumerate(nvidia_shapes().items()):
        count = int(np.prod(shape))
        values = pool[index * 1000 : index * 1000 + count].reshape(shape).clone()
        if name.endswith("bias"):
            values *= 0.05
        elif "deconv" in name or "upsampled" in name:
            values *= (2 / (shape[0] * 4)) ** 0.5  # a pixel gets four of the 16 taps
        else:
            values *= (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        if "predict_flow" in name:
            values *= {"flownets_d": 20.0, "flownetfusion": 1.0}.get(name.split(".")[0], 0.5)
        state[name] = values
    # The correlation is a mean of 256 products. It is weighted up, and its features are centred to give both signs.
    state["flownetc.conv3_1.0.weight"][:, 32:] *= 20
    state["flownetc.conv3.0.bias"] -= 0.25
    return state


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_state()


@pytest.fixture(scope="module")
def estimator(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> FlowNet2Flow:
    """The estimator, loaded from a file in NVIDIA's form: its dictionary, in PyTorch's old file format."""
    path = tmp_path_factory.mktemp("flownet2") / "FlowNet2_checkpoint.pth.tar"
    torch.save({"epoch": 1, "state_dict": state, "best_EPE": 1.7}, path, _use_new_zipfile_serialization=False)
    loaded = build_flow("flownet2", weights=path, trainable=True)
    path.unlink()  # 650 MB
    assert isinstance(loaded, FlowNet2Flow)
    return loaded


def test_its_parameters_are_those_of_the_published_network() -> None:
    with torch.device("meta"):
        network = FlowNet2()
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert own == nvidia_shapes()
    assert len(own) == 220
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert counts == {
        "flownetc": 39_175_298,
        "flownets_1": 38_695_322,
        "flownets_2": 38_695_322,
        "flownets_d": 45_371_666,
        "flownetfusion": 581_226,
    }
    assert sum(counts.values()) == 162_518_834


# -- correlation -------------------------------------------------------------------------------------------------------


def correlation_loop(first: np.ndarray, second: np.ndarray, radius: int, stride: int) -> np.ndarray:
    """Returns ((2 radius + 1)^2, H, W) means over channels for two (C, H, W) maps; rows of displacements first."""
    _, height, width = first.shape
    maps = []
    for dy in range(-radius * stride, radius * stride + 1, stride):
        for dx in range(-radius * stride, radius * stride + 1, stride):
            value = np.zeros((height, width))
            for y in range(height):
                for x in range(width):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        value[y, x] = np.mean(first[:, y, x] * second[:, y + dy, x + dx])
            maps.append(value)
    return np.stack(maps)


@pytest.mark.parametrize(
    ("size", "radius", "stride"),
    [((6, 8), 10, 2), ((5, 7), 2, 2), ((4, 5), 2, 1), ((3, 2 * BLOCK + 5), 3, 2), ((7, 8), 1, 3), ((1, 1), 1, 2)],
)
def test_correlation_against_loops(size: tuple[int, int], radius: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 2, 3, *size))
    maps = correlation(torch.from_numpy(first), torch.from_numpy(second), radius=radius, stride=stride)
    expected = np.stack([correlation_loop(a, b, radius, stride) for a, b in zip(first, second, strict=True)])
    np.testing.assert_allclose(maps.numpy(), expected, rtol=0, atol=1e-14)


def test_correlation_is_highest_at_the_displacement() -> None:
    """Displacements are in row order: a match at (dx, dy) = (4, -6) is channel (10 - 3) * 21 + (10 + 2)."""
    first = F.normalize(torch.randn(1, 16, 24, 28, generator=torch.Generator().manual_seed(0)), dim=1)
    second = first.roll((-6, 4), dims=(2, 3))
    assert correlation(first, second)[0, :, 10:14, 10:14].argmax(dim=0).eq(7 * 21 + 12).all()


def test_correlation_has_the_right_gradient() -> None:
    maps = torch.randn(2, 1, 2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = maps.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: correlation(m[0], m[1], radius=2, stride=2), maps, fast_mode=True)


def test_correlation_keeps_little_for_its_gradient() -> None:
    """A loop over 441 shifts would keep 441 products of the maps' size. Only the two rearranged maps are kept."""
    first, second = (torch.randn(1, 64, 16, 96, requires_grad=True) for _ in range(2))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        correlation(first, second)
    rearranged = first.numel() + 64 * (16 + 40) * 2 * 2 * (BLOCK + 20)  # with margins
    assert sum(kept.values()) <= 4 * rearranged * 1.01


def test_correlation_refuses_maps_of_two_shapes() -> None:
    with pytest.raises(ValueError, match=r"maps to correlate have shapes \(1, 2, 4, 4\) and \(1, 2, 4, 5\)"):
        correlation(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))


# -- resample and channel norm -----------------------------------------------------------------------------------------


def resample_reference(source: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Returns the map (C, H, W) sampled along the flow (2, H, W), with every tap clamped to the map."""
    _, height, width = source.shape
    y, x = np.mgrid[:height, :width] + flow[::-1]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    result = np.zeros_like(source)
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            taps = source[:, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            result += row_weight * column_weight * taps
    return result


@pytest.mark.parametrize("length_px", [0.0, 0.7, 5.0])
def test_resample_against_its_definition(length_px: float) -> None:
    rng = np.random.default_rng(0)
    source, flow = rng.normal(size=(3, 6, 9)), length_px * rng.normal(size=(2, 6, 9))
    result = resample(torch.from_numpy(source)[None], torch.from_numpy(flow)[None])[0].numpy()
    np.testing.assert_allclose(result, resample_reference(source, flow), rtol=0, atol=1e-12)


def test_resample_has_the_right_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=generator).requires_grad_()
    flow = (3 * torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=generator)).requires_grad_()
    assert torch.autograd.gradcheck(resample, (source, flow))


def test_beyond_the_border_the_flow_gets_no_gradient() -> None:
    source = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)) + 1
    flow = torch.tensor([7.0, 0.0])[None, :, None, None].repeat(1, 1, 4, 4).requires_grad_()
    resample(source, flow).sum().backward()
    assert flow.grad is not None
    assert flow.grad[0, 0].abs().max() == 0  # the flow leads outside horizontally
    still = torch.zeros(1, 2, 4, 4).requires_grad_()
    resample(source, still).sum().backward()
    assert still.grad is not None
    assert still.grad[0, 0, :, -1].abs().max() < 1e-3  # at the border itself nothing from outside is interpolated
    np.testing.assert_allclose(still.grad[0, 0, :, 1], source[0, 0, :, 2] - source[0, 0, :, 1], atol=1e-3)


def test_channel_norm_and_its_gradient_at_0() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(2, 3, 4, 5))
    expected = np.sqrt(np.sum(source**2, axis=1, keepdims=True))
    np.testing.assert_allclose(channel_norm(torch.from_numpy(source)), expected, rtol=1e-14)
    assert torch.autograd.gradcheck(channel_norm, torch.from_numpy(source).requires_grad_())
    zero = torch.zeros(1, 3, 2, 2, requires_grad=True)
    channel_norm(zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.eq(0).all()


# -- the whole ---------------------------------------------------------------------------------------------------------


def reference_flow(state: dict[str, Tensor], frame: Tensor, neighbour: Tensor) -> Tensor:
    """FlowNet2 in float64, directly from its description, for (1, 3, H, W) images in 0..255 of at most 64 x 64."""

    def tensor(name: str) -> Tensor:
        return state[name].double()

    def conv(name: str, x: Tensor, stride: int = 1, active: bool = True) -> Tensor:
        weight = tensor(f"{name}.weight")
        y = F.conv2d(x, weight, tensor(f"{name}.bias"), stride=stride, padding=(weight.shape[-1] - 1) // 2)
        return torch.where(y > 0, y, 0.1 * y) if active else y

    def up(name: str, x: Tensor, active: bool) -> Tensor:
        bias = tensor(f"{name}.bias") if f"{name}.bias" in state else None
        y = F.conv_transpose2d(x, tensor(f"{name}.weight"), bias, stride=2, padding=1)
        return torch.where(y > 0, y, 0.1 * y) if active else y

    def decode(net: str, x: Tensor, skips: list[tuple[int, Tensor]], smooth: bool) -> Tensor:
        flow = conv(f"{net}.predict_flow{skips[0][0] + 1}", x, active=False)
        for level, skip in skips:
            wider = up(f"{net}.upsampled_flow{level + 1}_to_{level}", flow, active=False)
            x = torch.cat((skip, up(f"{net}.deconv{level}.0", x, active=True), wider), dim=1)
            y = conv(f"{net}.inter_conv{level}.0", x, active=False) if smooth else x
            flow = conv(f"{net}.predict_flow{level}", y, active=False)
        return flow

    def deep(net: str, c2: Tensor, c3: Tensor, smooth: bool = False) -> Tensor:
        c4 = conv(f"{net}.conv4_1.0", conv(f"{net}.conv4.0", c3, 2))
        c5 = conv(f"{net}.conv5_1.0", conv(f"{net}.conv5.0", c4, 2))
        c6 = conv(f"{net}.conv6_1.0", conv(f"{net}.conv6.0", c5, 2))
        return decode(net, c6, [(5, c5), (4, c4), (3, c3), (2, c2)], smooth)

    def simple(net: str, x: Tensor) -> Tensor:
        c2 = conv(f"{net}.conv2.0", conv(f"{net}.conv1.0", x, 2), 2)
        return deep(net, c2, conv(f"{net}.conv3_1.0", conv(f"{net}.conv3.0", c2, 2)))

    def along(x: Tensor, flow: Tensor) -> Tensor:
        return torch.from_numpy(resample_reference(x[0].numpy(), flow[0].numpy()))[None]

    def length(x: Tensor) -> Tensor:
        return (x**2).sum(dim=1, keepdim=True).sqrt()

    def bilinear(x: Tensor) -> Tensor:
        return F.interpolate(x, size=(4 * x.shape[2], 4 * x.shape[3]), mode="bilinear", align_corners=False)

    def nearest(x: Tensor) -> Tensor:
        return x.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)

    mean = torch.stack((frame, neighbour), dim=2).double().mean(dim=(2, 3, 4))[:, :, None, None]
    edge = ((0, 0), (0, 0), (0, 64 - frame.shape[2]), (0, 64 - frame.shape[3]))
    images = [np.pad(((image.double() - mean) / 255).numpy(), edge, mode="edge") for image in (frame, neighbour)]
    img0, img1 = (torch.from_numpy(image) for image in images)
    both = torch.cat((img0, img1), dim=1)

    # FlowNetC
    maps = []
    for image in (img0, img1):
        c2 = conv("flownetc.conv2.0", conv("flownetc.conv1.0", image, 2), 2)
        maps.append((c2, conv("flownetc.conv3.0", c2, 2)))
    (c2, c3), (_, other) = maps
    cost = torch.from_numpy(correlation_loop(c3[0].numpy(), other[0].numpy(), 10, 2))[None]
    merged = torch.cat((conv("flownetc.conv_redir.0", c3), torch.where(cost > 0, cost, 0.1 * cost)), dim=1)
    flow = bilinear(20 * deep("flownetc", c2, conv("flownetc.conv3_1.0", merged)))
    # FlowNetS, twice
    for net, upsample in (("flownets_1", bilinear), ("flownets_2", nearest)):
        warped = along(img1, flow)
        flow = upsample(20 * simple(net, torch.cat((both, warped, flow / 20, length(img0 - warped)), dim=1)))
    # FlowNetSD
    c1 = conv("flownets_d.conv1_1.0", conv("flownets_d.conv1.0", conv("flownets_d.conv0.0", both), 2))
    c2 = conv("flownets_d.conv2_1.0", conv("flownets_d.conv2.0", c1, 2))
    c3 = conv("flownets_d.conv3_1.0", conv("flownets_d.conv3.0", c2, 2))
    small = nearest(deep("flownets_d", c2, c3, smooth=True) / 20)
    # Fusion
    x = torch.cat(
        (
            img0,
            small,
            flow,
            length(small),
            length(flow),
            length(img0 - along(img1, small)),
            length(img0 - along(img1, flow)),
        ),
        dim=1,
    )
    c0 = conv("flownetfusion.conv0.0", x)
    c1 = conv("flownetfusion.conv1_1.0", conv("flownetfusion.conv1.0", c0, 2))
    c2 = conv("flownetfusion.conv2_1.0", conv("flownetfusion.conv2.0", c1, 2))
    return decode("flownetfusion", c2, [(1, c1), (0, c0)], smooth=True)[..., : frame.shape[2], : frame.shape[3]]


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Two (1, 3, H, W) images in 0..1; the second is the first, moved and slightly changed."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, HEIGHT // 8, WIDTH // 8, generator=generator)
    frame = F.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)
    noise = torch.rand(1, 3, HEIGHT, WIDTH, generator=generator)
    return frame, frame.roll((2, -3), dims=(2, 3)) * 0.9 + 0.1 * noise


@pytest.fixture(scope="module")
def flow(estimator: FlowNet2Flow, pair: tuple[Tensor, Tensor]) -> Tensor:
    """The flow with its autograd graph, for tests of values and gradients."""
    return estimator(*pair)


def test_the_whole_against_a_straight_line_forward(
    flow: Tensor, pair: tuple[Tensor, Tensor], state: dict[str, Tensor]
) -> None:
    """At any size: the mean is that of the images, edges are repeated to multiples of 64, and the flow is cropped."""
    expected = reference_flow(state, *(image * 255 for image in pair))
    assert flow.shape == (1, 2, HEIGHT, WIDTH)
    assert flow.dtype == torch.float32
    assert expected.std() > 0.1
    assert (flow.detach() - expected).abs().max() < 2e-5 * expected.abs().max()


def test_trained_jointly_every_tensor_gets_a_gradient(flow: Tensor, estimator: FlowNet2Flow) -> None:
    gradients = torch.autograd.grad(flow.square().mean(), list(estimator.parameters()))
    assert len(gradients) == 220
    assert all(bool(gradient.isfinite().all()) and gradient.abs().max() > 0 for gradient in gradients)


def test_the_mean_is_over_both_frames_of_each_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    frame, neighbour = torch.rand(2, 2, 3, 5, 4, generator=generator, dtype=torch.float64)
    for b in range(2):
        pair = np.stack([frame[b].numpy(), neighbour[b].numpy()], axis=1) * 255  # NVIDIA's (3, 2, H, W), 0..255
        expected = (pair - pair.reshape(3, -1).mean(axis=1)[:, None, None, None]) / 255
        for image, wanted in zip(subtract_mean(frame, neighbour), (expected[:, 0], expected[:, 1]), strict=True):
            np.testing.assert_allclose(image[b], wanted, rtol=0, atol=1e-14)


# -- weight files ------------------------------------------------------------------------------------------------------


def test_nvidias_file_loads_unchanged(estimator: FlowNet2Flow, state: dict[str, Tensor]) -> None:
    loaded = estimator.network.state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def light_state() -> dict[str, Tensor]:
    """Returns all tensors, each a view of one number, so that their files are small."""
    return {name: torch.full((1,), 0.5).expand(shape) for name, shape in nvidia_shapes().items()}


def test_a_raw_state_dict_loads_too_and_is_frozen_by_default(tmp_path: Path) -> None:
    torch.save(light_state(), tmp_path / "raw.pth")
    estimator = build_flow("flownet2", weights=tmp_path / "raw.pth")
    assert all(not p.requires_grad and p.eq(0.5).all() for p in estimator.parameters() if p.ndim == 1)
    assert not any(p.requires_grad for p in estimator.parameters())


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    state = light_state()
    del state["flownetc.conv1.0.weight"]
    state["flownets_1.upsampled_flow6_to_5.bias"] = torch.zeros(2)
    state["flownetfusion.predict_flow0.bias"] = torch.zeros(3)
    torch.save({"epoch": 1, "state_dict": state, "best_EPE": 1.0}, tmp_path / "other.pth.tar")
    message = (
        r"other.pth.tar: not FlowNet2's: 1 missing \(flownetc.conv1.0.weight\); "
        r"1 unexpected \(flownets_1.upsampled_flow6_to_5.bias\); "
        r"1 of another shape \(flownetfusion.predict_flow0.bias \(3,\) instead of \(2,\)\)"
    )
    with pytest.raises(ValueError, match=message):
        build_flow("flownet2", weights=tmp_path / "other.pth.tar")
    save_file({"weight": torch.zeros(2)}, tmp_path / "small.safetensors")
    with pytest.raises(
        ValueError, match=r"small.safetensors: not FlowNet2's: 220 missing \(.*; 1 unexpected \(weight\)"
    ):
        build_flow("flownet2", weights=tmp_path / "small.safetensors")
    torch.save({"epoch": 1, "state_dict": None}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"empty.pth: a PyTorch file, but not a state dict"):
        build_flow("flownet2", weights=tmp_path / "empty.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"broken.pth: not a readable PyTorch or safetensors file"):
        build_flow("flownet2", weights=tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"missing.pth': no such file; allowed are 'none' or a weight file"):
        build_flow("flownet2", weights=tmp_path / "missing.pth")


def test_published_weights_are_asked_for_where_nvidia_gives_them() -> None:
    with pytest.raises(ValueError, match=r"FlowNet2_checkpoint.pth.tar.*NVIDIA/flownet2-pytorch"):
        build_flow("flownet2")
