"""Types of options that several commands share."""

from dwnet.core.data_kinds import DataKind as DatasetName
from dwnet.core.data_kinds import Split as SplitName
from dwnet.flow.registry import FlowName

__all__ = ["DatasetName", "FlowName", "SplitName"]
