"""The paper's method and the methods that it is compared with. Each name is imported when it is first used.

The paper in the code: Eq. 1 is `dwnet.ops.warp`, Eq. 2-3 `fgconv`, section 3.2 `flow_refinement`, Eq. 4-8 `losses`,
Fig. 2's training graph `dwnet`, Table 4's fusion `static_warp`, Table 7's DFF `keyframe`. `specs` holds the settings of
each method, `training` holds the module that the trainer runs for it.
"""

import lazy_loader

# __init__.pyi lists the names and their modules. Type checkers and editors read it too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
