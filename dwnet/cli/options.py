"""Types of options that several commands share."""

import sys
from typing import Literal

from dwnet.core.data_kinds import DataKind as DatasetName
from dwnet.core.data_kinds import Split as SplitName
from dwnet.deploy.runtime_names import DeviceName, RuntimeName, use_runtime
from dwnet.flow.registry import FlowName

__all__ = [
    "DatasetName",
    "DecoderName",
    "DeviceName",
    "FlowName",
    "RuntimeName",
    "SplitName",
    "limit_clips",
    "print_warning",
    "use_runtime",
]


DecoderName = Literal["pyav", "decord"]
"""Decoder of video files (`dwnet.video.Decoder`)."""


def limit_clips(max_pixels: int | None, max_memory_mb: int | None) -> None:
    """Sets the limits of the clips that this process reads; None keeps the default.

    Raises:
        DWNetError: for a limit below 1.
    """
    from dwnet.video import ClipLimits, set_default_limits

    given = {"max_pixels": max_pixels, "max_memory_mb": max_memory_mb}
    set_default_limits(ClipLimits(**{name: value for name, value in given.items() if value is not None}))


def print_warning(warning: str | None) -> None:
    """Prints what a clip lacks on the standard error stream; nothing for None."""
    if warning:
        print(f"dwnet: warning: {warning}", file=sys.stderr)
