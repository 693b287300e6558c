"""Reference policy: which earlier frames a method uses at inference. PyTorch and ONNX networks share it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferencePolicy:
    """For how many frames the features of one frame, the reference, are used.

    Attributes:
        span: number of frames after a reference that use its features; 0 for a network that uses each frame alone.
        periodic: True for key frames: the next reference follows after `span` frames. False: each frame becomes the
            reference of the next one.
    """

    span: int = 0
    periodic: bool = False

    def warmup_frames(self, index: int) -> int:
        """Returns how many raw frames to run before frame `index` of a split, if the split lacks the frame before it.

        With key frames, the number cycles through 0..span with `index`, so that frames fall at every distance from a
        key frame equally often.
        """
        return index % (self.span + 1) if self.periodic else self.span

    def memory(self, position: int) -> int:
        """Returns how many of the last frames must run again before the next frame gets the same labels.

        Args:
            position: number of frames since the last reset.
        """
        return position % (self.span + 1) if self.periodic else min(position, self.span)


PER_FRAME = ReferencePolicy()
"""Policy of baseline and dwnet: each frame alone."""

PREVIOUS_FRAME = ReferencePolicy(span=1)
"""Policy of static_warp: each frame uses the features of the frame before."""


def key_frames(interval: int) -> ReferencePolicy:
    """Returns the policy of key-frame propagation: every `interval`-th frame is a key frame."""
    return ReferencePolicy(span=interval - 1, periodic=True)
