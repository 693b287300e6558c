"""The sections of gpu.py. Each measures one subject and returns JSON values. Sizes are the paper's unless `quick`."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dwnet.flow.dis import dis_flow
from dwnet.flow.registry import build_flow
from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.method.losses import feature_consistency
from dwnet.segmentation import NetworkSpec
from tests.benchmarks.feature_consistency import direct, errors, maps
from tests.benchmarks.fgconv import forwards
from tests.benchmarks.gpu_step import Batch, PlainStep, Step, flops, new_method, random_batch, street_batches
from tests.benchmarks.measure import Run, peak_tflops_of, side_by_side

Values = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the sections measure on.

    Attributes:
        device: the device.
        quick: tiny sizes.
        rounds: rounds of each comparison.
        notes: reports progress.
    """

    device: torch.device
    quick: bool
    rounds: int
    notes: Callable[[str], None] = field(repr=False)

    @property
    def network(self) -> NetworkSpec:
        """The network of the recipe cityscapes_pspnet_resnet101."""
        if self.quick:
            return NetworkSpec(backbone="test_efficientnet", channels=16)
        return NetworkSpec(backbone="resnet101", output_stride=8)

    @property
    def size(self) -> tuple[int, int]:
        """(batch, crop) of that recipe."""
        return (2, 64) if self.quick else (8, 768)

    @property
    def peak_tflops(self) -> float | None:
        """Data sheet's peak of dense bf16."""
        return peak_tflops_of(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None


def compared(runs: Mapping[str, Run], setting: Setting, *, warm_up: int = 1, calls: int = 1) -> Values:
    """Returns median milliseconds, ratio to the first variant and peak MiB of each variant, in interleaved rounds.

    A variant that fails is reported with its error and left out.

    Args:
        runs: by name.
        setting: of the measurement.
        warm_up: runs before measuring.
        calls: calls of a run in one round; times and ratios are of one call.
    """
    found: Values = {}
    alive: dict[str, Run] = {}
    for name, run in runs.items():
        try:
            for _ in range(warm_up):
                run()
            alive[name] = run
        except Exception as error:
            found[name] = {"error": first_words(error)}
            setting.notes(f"{name} failed: {found[name]['error']}")
        free(setting.device)
    if alive:
        repeated = {name: lambda run=run: [run() for _ in range(calls)] for name, run in alive.items()}
        for one in side_by_side(repeated, rounds=setting.rounds, device=setting.device):
            found[one.name] = {
                "median_ms": _short(one.median_ms / calls),
                "ratio": _short(one.ratio),
                "peak_mib": _short(one.peak_mib),
            }
    return found


def first_words(error: BaseException) -> str:
    """Returns type and message of an error, shortened."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def ceilings(setting: Setting) -> Values:
    """Measured peaks of the device: a large bf16 matrix product and a large copy."""
    side = 256 if setting.quick else 8192
    left, right = (torch.randn(side, side, device=setting.device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(side, side, device=setting.device)
    target = torch.empty_like(source)
    times = compared(
        {"product": lambda: left @ right, "copy": lambda: target.copy_(source)}, setting, warm_up=3, calls=10
    )
    return {
        "bf16_tflops_measured": _short(2 * side**3 / times["product"]["median_ms"] / 1e9),
        "copy_tb_per_s_measured": _short(2 * source.nbytes / times["copy"]["median_ms"] / 1e9),
        "bf16_tflops_data_sheet": setting.peak_tflops,
    }


def fg_conv(setting: Setting) -> Values:
    """FG-Conv, forward and backward, against the deformable convolution and a loop over its taps."""
    device = setting.device
    batch, channels, side = (1, 32, 8) if setting.quick else (4, 512, 96)
    result: Values = {"size": f"{batch} x {channels} x {side} x {side}, forward + backward"}
    for s in (1, 3):
        generator = torch.Generator(device).manual_seed(0)
        random = [
            torch.randn(batch, n, side, side, generator=generator, device=device)
            for n in (channels, 2 * s * s, channels)
        ]
        features, flow, upstream = random[0].requires_grad_(), (3 * random[1]).requires_grad_(), random[2]
        module = FlowGuidedConv2d(channels, kernel_size=s).to(device)
        torch.nn.init.normal_(module.weight, std=(channels * s * s) ** -0.5)
        variants = forwards(module, features, flow)
        runs = _gradients(variants, (features, flow, module.weight), upstream, device)
        last = features.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        own = {"FlowGuidedConv2d, channels last": forwards(module, last, flow)["FlowGuidedConv2d"]}
        runs |= _gradients(own, (last, flow, module.weight), upstream, device)
        rows = compared(runs, setting)
        with torch.no_grad():
            expected = next(iter(variants.values()))()
            apart = [(forward() - expected).abs().max() / expected.abs().max() for forward in variants.values()]
        result[f"s = {s}"] = rows | {"largest_difference_float32": _short(torch.stack(apart).max().item())}
    return result


def feature_loss(setting: Setting) -> Values:
    """Feature consistency (Eq. 4-5), forward and backward, against the N x N maps of the paper."""
    channels, side = (16, 12) if setting.quick else (512, 96)
    pair = tuple(map_.requires_grad_() for map_ in maps(channels, (side, side), 0.1, setting.device))
    runs = {
        "N x N maps": lambda: torch.autograd.grad(direct(*pair), pair),
        "feature_consistency": lambda: torch.autograd.grad(feature_consistency(*pair), pair),
    }
    result: Values = {"size": f"{channels} channels, N = {side**2}, float32, forward + backward"}
    result |= compared(runs, setting)
    return result | {"accuracy": errors(channels, (side, side), 0.1, setting.device)}


def single_frames(setting: Setting, *, compiled: bool = False) -> Values:
    """Training on single frames with cross-entropy: images/s and model FLOP utilisation."""
    return _training(setting, "baseline", compiled=compiled)


def pairs(setting: Setting, *, compiled: bool = False) -> Values:
    """The whole DWNet step on pairs, with a given flow: images/s and model FLOP utilisation."""
    return _training(setting, "dwnet", compiled=compiled)


def _training(setting: Setting, method: str, *, compiled: bool) -> Values:
    device, (batch_size, crop) = setting.device, setting.size
    batch, network = random_batch(batch_size, crop, device), setting.network
    what = "pairs; images/s counts labelled frames" if method == "dwnet" else "single frames"
    result: Values = {
        "size": f"{network.segmenter}, {network.backbone}, {crop} x {crop}, batch {batch_size}, {what}",
        "peak_tflops": setting.peak_tflops,
    }
    steps: dict[str, Callable[[Batch], Tensor]] = {}
    if compiled:
        start = time.perf_counter()
        # Compiling for a CPU takes a minute, also for a tiny network.
        backend = "aot_eager" if setting.quick else "inductor"
        steps["ours, bf16, compiled"] = Step(new_method(method, network, device), "bf16", backend=backend)
        steps["ours, bf16, compiled"](batch)
        _synchronise(device)
        result["compile_seconds"] = _short(time.perf_counter() - start)
        setting.notes(f"compiled in {result['compile_seconds']} s")
    else:
        steps["plain loop, float32"] = PlainStep(new_method(method, network, device), device)
        steps["plain loop, bf16 autocast"] = PlainStep(new_method(method, network, device), device, bf16=True)
        steps["ours, bf16, eager"] = Step(new_method(method, network, device), "bf16")
        searched = Step(new_method(method, network, device), "bf16", searched=True)
        steps["ours, bf16, eager, cudnn.benchmark"] = searched
    runs: dict[str, Run] = {name: partial(step, batch) for name, step in steps.items()}
    repeats = {"warm_up": 1, "calls": 1} if setting.quick else {"warm_up": 3, "calls": 3}
    rows = compared(runs, setting, **repeats)
    images = dict.fromkeys(rows, batch_size)
    if "error" in rows.get("plain loop, float32", {}):  # out of memory
        half = {name: value[: batch_size // 2] for name, value in batch.items()}
        name = f"plain loop, float32, batch {batch_size // 2}"
        rows |= compared({name: partial(steps["plain loop, float32"], half)}, setting, **repeats)
        images[name] = batch_size // 2
    # FLOPs of the eager step. A compiled one cannot be counted.
    counted = Step(new_method(method, network, device), "bf16") if compiled else steps["ours, bf16, eager"]
    work = flops(partial(counted, batch))
    result["tflop_per_step"] = _short(work / 1e12)
    for name, row in rows.items():
        if "median_ms" in row:
            row["images_per_s"] = _short(1000 * images[name] / row["median_ms"])
            row["tflops"] = _short(work / row["median_ms"] / 1e9 * images[name] / batch_size)
            if setting.peak_tflops:
                row["model_flop_utilisation"] = _short(row["tflops"] / setting.peak_tflops)
    last = [name for name in runs if "median_ms" in rows[name]][-1:]
    return result | rows | {f"where the time goes: {name}": where_time_goes(runs[name], device) for name in last}


def where_time_goes(run: Run, device: torch.device, *, kernels: int = 25) -> Values:
    """Returns the kernels with the most time in two runs, in ms of one run, and the time without any kernel."""
    cuda = device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CUDA if cuda else torch.profiler.ProfilerActivity.CPU]
    run()
    _synchronise(device)
    with torch.profiler.profile(activities=activities) as profile:
        start = time.perf_counter()
        for _ in range(2):
            run()
        _synchronise(device)
        wall_ms = 500 * (time.perf_counter() - start)
    own = "self_device_time_total" if cuda else "self_cpu_time_total"
    times: dict[str, float] = {}
    counts: dict[str, int] = {}
    for event in profile.key_averages():
        name = event.key[:150]  # templates have names of kilobytes
        times[name] = times.get(name, 0) + getattr(event, own) / 2000
        counts[name] = counts.get(name, 0) + event.count // 2
    most = sorted(times, key=lambda name: -times[name])[:kernels]
    return {
        "wall_ms": _short(wall_ms),
        "kernels_ms": _short(sum(times.values())),
        "kernels": {f"{name} x{counts[name]}": _short(times[name]) for name in most},
    }


def precisions(setting: Setting) -> Values:
    """Short trainings of DWNet on the rendered street in float32, bf16 and fp16, from the same weights and batches."""
    quick, device = setting.quick, setting.device
    count, batch_size, size, steps = (2, 2, (64, 64), 2) if quick else (8, 8, (160, 192), 120)
    batches = street_batches(count, batch_size, size, device)
    network = NetworkSpec(backbone="test_efficientnet" if quick else "mobilenetv2", channels=16 if quick else 128)
    last = min(steps, 16)
    result: Values = {"size": f"{network.backbone}, {steps} steps of {batch_size} pairs of {size[0]} x {size[1]}"}
    for name in ("no", "bf16", "fp16"):
        if name == "fp16" and device.type == "cpu":
            result["fp16"] = {"error": "fp16 needs a GPU"}
            continue
        step = Step(new_method("dwnet", network, device, classes=11), name, rate=0.02)
        losses = torch.stack([step(batches[index % count]) for index in range(steps)]).tolist()
        label = "float32" if name == "no" else name
        result[label] = {
            "first_loss": _short(losses[0]),
            "last_loss": _short(statistics.mean(losses[-last:])),
            "steps_skipped_by_the_scaler": step.skipped,
        }
        reference = result["float32"]["last_loss"]
        result[label]["relative_to_float32"] = _short(result[label]["last_loss"] / reference - 1)
    return result


def flows(setting: Setting) -> Values:
    """RAFT and FlowNet2 with random weights on one pair, and DIS on the CPU: time and peak memory."""
    device = setting.device
    height, width = (128, 128) if setting.quick else (1024, 2048)
    frame, neighbour = torch.rand(2, 1, 3, height, width, device=device)
    runs: dict[str, Run] = {}
    for name in ("raft_small",) if setting.quick else ("raft_small", "raft_large", "flownet2"):
        with torch.device(device):  # random weights of 160 million parameters are slow on a CPU
            estimator = build_flow(name, weights="none").to(device)
        runs[name] = lambda estimator=estimator: estimator(frame, neighbour)
    result: Values = {"size": f"one pair of {height} x {width}, float32"}
    result |= compared(runs, setting)
    arrays = [(255 * one[0].permute(1, 2, 0)).byte().cpu().numpy() for one in (frame, neighbour)]
    seconds = []
    for _ in range(setting.rounds):
        start = time.perf_counter()
        dis_flow(np.ascontiguousarray(arrays[0]), np.ascontiguousarray(arrays[1]))
        seconds.append(time.perf_counter() - start)
    return result | {"dis, on the CPU": {"median_ms": _short(1000 * statistics.median(seconds))}}


def _gradients(
    forwards: Mapping[str, Callable[[], Tensor]], inputs: tuple[Tensor, ...], upstream: Tensor, device: torch.device
) -> dict[str, Run]:
    """Returns forward and backward of each function, in float32 and under bf16 autocast."""

    def run(forward: Callable[[], Tensor], bf16: bool) -> tuple[Tensor, ...]:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = forward()
        return torch.autograd.grad(output, inputs, upstream.to(output.dtype))

    precisions = {"float32": False, "bf16 autocast": True}
    return {
        f"{name}, {precision}": partial(run, forward, bf16)
        for precision, bf16 in precisions.items()
        for name, forward in forwards.items()
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _short(value: float) -> float:
    """Returns a number with four digits."""
    return float(f"{value:.4g}")
