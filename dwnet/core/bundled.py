"""The models and the clip that come with the library."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def assets_folder() -> Path:
    """The folder of the bundled files: inside the package where a wheel is installed, beside it in a clone."""
    inside = _PACKAGE / "assets"
    return inside if inside.is_dir() else _PACKAGE.parent / "assets"


def models_folder() -> Path:
    """The folder of the bundled networks (.onnx)."""
    return assets_folder() / "models"


def sample_clip() -> Path:
    """The bundled clip."""
    return assets_folder() / "street_sample.mp4"
