"""What each figure means: shown in every report, beside the numbers."""

HEADLINE = "Flips alone prove nothing: a prediction that never changes has none. Read them beside the mIoU."

DEFINITIONS: dict[str, tuple[str, str]] = {
    "flip_rate_percent": (
        "flips %",
        "Share of the pixels whose label differs from the one that the flow leads to in the previous frame. Pixels "
        "that are hidden there (forward-backward check of the flow, Sundaram et al. 2010) or outside are left out, and "
        "those predicted as no class.",
    ),
    "flip_rate_boundary_percent": ("flips at edges %", "The same among pixels within 3 px of a predicted edge."),
    "flip_rate_interior_percent": ("flips inside %", "The same among all other pixels."),
    "temporal_consistency_percent": (
        "TC %",
        "mIoU between the previous labels, moved along the flow with the nearest pixel, and the current ones; hidden "
        "and out-of-frame pixels and absent classes left out, one confusion matrix over everything.",
    ),
    "tc_etc_percent": (
        "TC (ETC) %",
        "As ETC's script computes it (Liu et al., ECCV 2020): class ids mixed bilinearly and truncated, nothing hidden "
        "left out, absent classes count as 0. For comparison with papers only; depends on the order of the classes.",
    ),
    "tc_vspw_percent": (
        "TC (VSPW) %",
        "As VSPW's script computes it (Miao et al., CVPR 2021): pixels from outside become class 0, positions are off "
        "by half a pixel, nothing hidden is left out. For comparison with papers only; none where pixels are ignored.",
    ),
    "logit_jitter": (
        "jitter",
        "Mean absolute change of the class probabilities along the flow, 0 to 2/K. Needs scores, not only labels.",
    ),
    "miou_percent": (
        "mIoU %",
        "Mean of the classes' intersection over union with the truth, absent classes left out. Labelled pixels "
        "that are predicted as no class are wrong.",
    ),
    "pixel_accuracy_percent": (
        "accuracy %",
        "Share of the labelled pixels that are right; those predicted as no class are wrong.",
    ),
    "flicker_error_percent": (
        "flicker error %",
        "Flips among the pixels whose true label is known and stays the same along the flow: each is an error.",
    ),
    "vc8_percent": (
        "VC8 %",
        "VSPW's VC over 8 frames: predicted constantly where the truth is constant. Right or wrong.",
    ),
    "vc8_correct_percent": ("VC8 right %", "The same, predicted constantly and right."),
    "vc8_published_percent": (
        "VC8 (VSPW) %",
        "VC8 as VSPW's script has it: last window dropped, ignored truth counted.",
    ),
    "vc16_percent": ("VC16 %", "As VC8, over 16 frames."),
    "vc16_correct_percent": ("VC16 right %", "As VC8 right, over 16 frames."),
    "vc16_published_percent": ("VC16 (VSPW) %", "As VC8 (VSPW), over 16 frames."),
}
"""Key of `SetTally.summary` -> its short name and its meaning."""
