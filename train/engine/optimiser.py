"""Parameter groups of SGD, and the poly policy of section 4.1.3."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dwnet.method.training import DWNetMethod, Method
from train.config.spec import OptimiserSpec


def build_optimiser(method: Method, spec: OptimiserSpec) -> torch.optim.SGD:
    """Returns SGD over `parameter_groups`."""
    return torch.optim.SGD(parameter_groups(method, spec), lr=spec.rate, momentum=spec.momentum)


def parameter_groups(method: Method, spec: OptimiserSpec) -> list[dict[str, Any]]:
    """Returns groups by learning rate and weight decay (section 4.1.3).

    "name" is "head" (the segmenter's head, if `head_rate_factor` is not 1), "flow" (the flow network) or "network" (the
    rest).
    """
    groups: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    head = {id(p) for name, p in method.segmenter.named_parameters() if not name.startswith("backbone.")}
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            continue
        part, rate = "network", spec.rate
        if id(parameter) in head and spec.head_rate_factor != 1:
            part, rate = "head", spec.rate * spec.head_rate_factor
        if name.startswith("flow."):
            part, rate = "flow", spec.flow_rate
        decay = spec.weight_decay if parameter.ndim > 1 or spec.decay_norms else 0.0
        groups.setdefault((part, rate, decay), []).append(parameter)
    return [
        {"params": params, "name": part, "lr": rate, "weight_decay": decay}
        for (part, rate, decay), params in groups.items()
    ]


def rates(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """Returns the current learning rate of each part: "network", and "head" and "flow" if they have their own."""
    return {group.get("name", "network"): group["lr"] for group in optimiser.param_groups}


def gradient_norm(optimiser: torch.optim.Optimizer) -> Tensor:
    """Returns the largest absolute value in all gradients, a scalar; not finite if one of them is not."""
    parameters = (parameter for group in optimiser.param_groups for parameter in group["params"])
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], norm_type=math.inf)


def freeze_unused(method: Method) -> None:
    """Freezes parts that only losses of weight 0 reach: an auxiliary head, or a DWNet's flow refinement and FG-Conv.

    Every other parameter gets a gradient in every step, so that DistributedDataParallel does not need
    `find_unused_parameters`, which walks the graph again in each step.
    """
    auxiliary = getattr(method.segmenter, "auxiliary", None)
    if auxiliary is not None and method.spec.auxiliary_weight == 0:
        auxiliary.requires_grad_(False)
    if isinstance(method, DWNetMethod):
        spec, network = method.spec, method.network
        for part, trained in ((network.refinement, spec.trains_refinement), (network.fg_conv, spec.trains_fg_conv)):
            if part is not None and not trained:
                part.requires_grad_(False)


def set_rates(optimiser: torch.optim.Optimizer, base_rates: list[float], progress: float, power: float) -> None:
    """Sets the poly policy: base rate times (1 - progress) ** power, progress 0..1 (section 4.1.3)."""
    for group, base in zip(optimiser.param_groups, base_rates, strict=True):
        group["lr"] = base * (1 - progress) ** power
