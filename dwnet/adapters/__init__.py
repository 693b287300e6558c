"""Networks of other packages in DWNet: `adapt(model)` returns a `Segmenter` that runs and trains the given model."""

from dwnet.adapters.adapter import Adapter
from dwnet.adapters.callables import CallableAdapter
from dwnet.adapters.registry import ADAPTERS, adapt

__all__ = ["ADAPTERS", "Adapter", "CallableAdapter", "adapt"]
