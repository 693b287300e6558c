"""Optical flow: `dis_flow` and `flow_function` on arrays, `build_flow` and the estimators on tensors.

Each name is imported when it is first used. This package, `dis_flow`, `farneback_flow`, `FLOW_NAMES` and
`flow_function("dis")` do not import PyTorch.
"""

import lazy_loader

# __init__.pyi lists the names and their modules. Type checkers and editors read it too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
