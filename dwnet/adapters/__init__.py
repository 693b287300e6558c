"""DWNet around networks of other packages: `adapt(model)` returns a `Segmenter` that trains the given model itself."""

from dwnet.adapters.adapter import Adapter
from dwnet.adapters.callables import CallableAdapter
from dwnet.adapters.registry import ADAPTERS, adapt

__all__ = ["ADAPTERS", "Adapter", "CallableAdapter", "adapt"]
