"""The paper's method and those it is compared with. Each name is imported when it is first used.

Where the paper is in the code: Eq. 1 `dwnet.ops.warp`, Eq. 2-3 `fgconv`, section 3.2 `flow_refinement`, Eq. 4-8
`losses`, Fig. 2's training graph `dwnet`, Table 4's fusion `static_warp`, Table 7's DFF `keyframe`. `specs` has the
settings of each method, `training` has what the trainer runs.
"""

import lazy_loader

# The names and their modules stand in __init__.pyi, which type checkers and editors read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
