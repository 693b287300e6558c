"""Flow estimators on tensors as functions of NumPy arrays."""

import threading
from collections.abc import Callable

import numpy as np
import torch

from dwnet.core.errors import DWNetError
from dwnet.core.launch import Processes
from dwnet.flow.base import FlowEstimator
from dwnet.ops.device import device


def on_arrays(estimator: FlowEstimator) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns the estimator as a function of two uint8 (H, W, 3) RGB frames, which returns float32 (2, H, W) in pixels.

    Threads may share the function. Calls run one at a time.
    """
    # The GPU number is explicit: the current GPU of a new thread may differ from that of its process.
    where = device(Processes.of_launcher())
    estimator = estimator.to(where).eval()
    one_at_a_time = threading.Lock()  # torchvision's RAFT keeps intermediate results in the module

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        for which, image in (("frame", frame), ("neighbour", neighbour)):
            if image.dtype != np.uint8 or image.shape != frame.shape or image.ndim != 3 or image.shape[2] != 3:
                raise DWNetError(
                    f"{which} is {image.dtype} of shape {image.shape}; flow needs two uint8 frames of one (H, W, 3)"
                )
        with one_at_a_time, torch.inference_mode():
            images = (
                torch.from_numpy(np.ascontiguousarray(image)).to(where).permute(2, 0, 1)[None].float() / 255
                for image in (frame, neighbour)
            )
            return estimator(*images)[0].cpu().numpy()

    return flow
