"""The adapters, and `adapt`, which chooses one by the class of the model."""

from collections.abc import Sequence

from torch import nn

from dwnet.adapters.adapter import Adapter
from dwnet.adapters.huggingface import (
    BeitAdapter,
    DPTAdapter,
    MobileAdapter,
    Sapiens2Adapter,
    SegformerAdapter,
    Tipsv2DptAdapter,
    UperNetAdapter,
)
from dwnet.adapters.smp import SmpAdapter, SmpDPTAdapter
from dwnet.adapters.torchvision_models import FCNAdapter, LRASPPAdapter
from dwnet.core.errors import DWNetError
from dwnet.ops.modules import unwrapped
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD

ADAPTERS: tuple[type[Adapter], ...] = (
    BeitAdapter,
    DPTAdapter,
    FCNAdapter,
    LRASPPAdapter,
    MobileAdapter,
    Sapiens2Adapter,
    SegformerAdapter,
    SmpAdapter,
    SmpDPTAdapter,
    Tipsv2DptAdapter,
    UperNetAdapter,
)
"""One adapter per family of models; its attribute `wraps` lists their classes."""


def adapt(
    model: nn.Module,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    multiple: int | None = None,
    size: tuple[int, int] | None = None,
    dropout: bool = False,
) -> Adapter:
    """Returns the adapter for a model of a supported package. `CallableAdapter` takes any other model.

    Args:
        model: of a class that an adapter in `ADAPTERS` wraps, or of a subclass. `nn.DataParallel`,
            `DistributedDataParallel` and `torch.compile` around it are taken off: `adapt(model).model` is the model
            inside.
        mean: as in `Adapter`.
        std: as in `Adapter`.
        multiple: as in `Adapter`.
        size: as in `Adapter`.
        dropout: as in `Adapter`.

    Raises:
        DWNetError: for an unsupported model, and under the same conditions as `Adapter`.
    """
    model = unwrapped(model)
    # Classes are compared by name, so that the other packages need not be installed.
    ancestors = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(model).__mro__}
    for adapter in ADAPTERS:
        if ancestors.intersection(adapter.wraps):
            return adapter(model, mean=mean, std=std, multiple=multiple, size=size, dropout=dropout)
    supported = ", ".join(name for adapter in ADAPTERS for name in adapter.wraps)
    found = f"{type(model).__module__}.{type(model).__name__}"
    raise DWNetError(f"no adapter for {found}; supported are {supported}, and any other model by CallableAdapter")
