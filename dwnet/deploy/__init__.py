"""Trained networks outside of training: checkpoints, exported ONNX networks, and folders for the Hugging Face hub.

Each name is imported when it is first used. `load` and the classes of exported networks do not import PyTorch.
"""

import lazy_loader

# __init__.pyi lists the names and their modules. Type checkers and editors read it too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
