"""Names of data sets, splits and neighbours, for annotations, command lines and error messages. Needs no PyTorch."""

from typing import Literal, get_args

OnDiskKind = Literal["camvid", "cityscapes", "own"]
"""Data sets that are files on disk."""
DataKind = Literal[OnDiskKind, "street"]
"""All data sets. ``street`` is rendered on request; its folder holds only a cache."""

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

PairNeighbours = Literal["camera_motion", "labelled", "video", "mixed"]
"""Kinds of neighbour for training (`Neighbours` describes them)."""
Neighbours = Literal["none", PairNeighbours, "previous"]
"""The frame that a labelled frame is paired with.

- ``none``: nothing.
- ``camera_motion``: a neighbour generated from the frame itself, with exact flow. Needs no video.
- ``labelled``: the nearest other labelled frame of its sequence, the earlier of two equally near ones. Frames without
  one within `max_offset` are left out. On the street: the frame before.
- ``video``: a real frame of the clip, drawn uniformly from those within `max_offset`. On the street: one of two frames,
  one before and one after, at distances drawn once for each frame.
- ``previous``: the real frame right before the labelled one. Frames without one are left out.
- ``mixed``: ``camera_motion`` or ``video``, each with probability 1/2 for each sample.
"""
CheckedNeighbours = Literal["none", PairNeighbours]
"""Neighbours that `dwnet data check` can check."""

REAL: tuple[Neighbours, ...] = ("video", "previous", "mixed")
"""Neighbours that need the raw frames around the labelled ones."""
