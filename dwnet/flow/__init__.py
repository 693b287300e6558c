"""Optical flow: `dis_flow` and `flow_function` on arrays, `build_flow` and the estimators on tensors.

Each name is imported when it is first used. Importing this package imports no PyTorch; neither do `dis_flow`,
`FLOW_NAMES` and `flow_function("dis")`.
"""

import lazy_loader

# The names and their modules stand in __init__.pyi, which type checkers and editors read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
