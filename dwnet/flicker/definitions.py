"""The meaning of each figure. Every report shows it with the numbers."""

HEADLINE = "Flips alone prove nothing: a prediction that never changes has no flips. Judge them together with the mIoU."

DEFINITIONS: dict[str, tuple[str, str]] = {
    "flip_rate_percent": (
        "flips %",
        "Share of the pixels whose label differs from the label at the position in the previous frame to which the "
        "flow leads. Left out: pixels that are hidden in the previous frame (forward-backward check of the flow, "
        "Sundaram et al. 2010) or outside it, and pixels predicted as no class.",
    ),
    "flip_rate_boundary_percent": ("flips at edges %", "The same among pixels within 3 px of a predicted edge."),
    "flip_rate_interior_percent": ("flips inside %", "The same among all other pixels."),
    "temporal_consistency_percent": (
        "TC %",
        "mIoU between the previous labels, warped along the flow to the nearest pixel, and the current labels. Hidden "
        "and out-of-frame pixels and absent classes are left out. There is one confusion matrix over all pairs.",
    ),
    "tc_etc_percent": (
        "TC (ETC) %",
        "As ETC's script computes it (Liu et al., ECCV 2020): class ids are interpolated bilinearly and truncated, "
        "hidden pixels are counted, absent classes count as 0. For comparison with papers only: it depends on the "
        "order of the classes.",
    ),
    "tc_vspw_percent": (
        "TC (VSPW) %",
        "As VSPW's script computes it (Miao et al., CVPR 2021): pixels from outside become class 0, positions are off "
        "by half a pixel, hidden pixels are counted. For comparison with papers only; undefined for sets with ignored "
        "pixels.",
    ),
    "logit_jitter": (
        "jitter",
        "Mean absolute change of the class probabilities along the flow, 0 to 2/K. Needs scores, not only labels.",
    ),
    "miou_percent": (
        "mIoU %",
        "Mean over the classes of the intersection over union with the truth, without absent classes. Labelled pixels "
        "that are predicted as no class are wrong.",
    ),
    "pixel_accuracy_percent": (
        "accuracy %",
        "Share of the labelled pixels that are right; those predicted as no class are wrong.",
    ),
    "flicker_error_percent": (
        "flicker error %",
        "Flips among the pixels whose true label is known and stays the same along the flow. Each of them is an error.",
    ),
    "vc8_percent": (
        "VC8 %",
        "VSPW's VC over 8 frames: share of the pixels of constant truth whose prediction is constant, right or wrong.",
    ),
    "vc8_correct_percent": ("VC8 right %", "The same, with a prediction that is constant and right."),
    "vc8_published_percent": (
        "VC8 (VSPW) %",
        "VC8 as VSPW's script computes it: the last window is dropped, ignored truth is counted.",
    ),
    "vc16_percent": ("VC16 %", "As VC8, over 16 frames."),
    "vc16_correct_percent": ("VC16 right %", "As VC8 right, over 16 frames."),
    "vc16_published_percent": ("VC16 (VSPW) %", "As VC8 (VSPW), over 16 frames."),
}
"""Key of `SetTally.summary` -> heading and meaning."""
