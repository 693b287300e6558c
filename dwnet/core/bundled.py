"""Paths of the bundled networks and the bundled clip."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def assets_folder() -> Path:
    """Returns the folder of the bundled files: inside the package in a wheel, beside the package in a clone."""
    inside = _PACKAGE / "assets"
    return inside if inside.is_dir() else _PACKAGE.parent / "assets"


def models_folder() -> Path:
    """Returns the folder of the bundled networks (.onnx)."""
    return assets_folder() / "models"


def sample_clip() -> Path:
    """Returns the path of the bundled clip."""
    return assets_folder() / "street_sample.mp4"
