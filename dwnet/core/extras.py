"""Packages of the extra `train`, and the error for a missing one."""

from dwnet.core.errors import DWNetError

TRAIN_PACKAGES = frozenset(
    {
        "accelerate",
        "onnxscript",
        "psutil",
        "safetensors",
        "tensorboard",
        "timm",
        "torch",
        "torchvision",
    }
)
"""Top-level modules of the extra `train`."""

INSTALL = 'pip install "dwnet[train]" (in a clone: pip install -e ".[train]")'


class MissingExtraError(DWNetError, ImportError):
    """A package of an extra that is needed but not installed."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Returns the error for a missing package of an extra; None if the missing module belongs to no extra."""
    package = (error.name or "").partition(".")[0]
    if package not in TRAIN_PACKAGES:
        return None
    return MissingExtraError(f"this needs {package}, which is not installed: {INSTALL}")
