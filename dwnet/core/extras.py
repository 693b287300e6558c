"""Packages that come with an extra, and what to say where one is missing."""

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
    """A package of an extra is needed and not installed."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error to show for a package of an extra that is not installed; None for any other module."""
    package = (error.name or "").partition(".")[0]
    if package not in TRAIN_PACKAGES:
        return None
    return MissingExtraError(f"this needs {package}, which is not installed: {INSTALL}")
