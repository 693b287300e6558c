"""Trained networks outside of training: checkpoints, exported ONNX networks, and folders for the Hugging Face hub.

Each name is imported when it is first used. What runs exported networks (`load` and the classes beside it) imports no
PyTorch.
"""

import lazy_loader

# The names and their modules stand in __init__.pyi, which type checkers and editors read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
