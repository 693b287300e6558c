"""What options of several commands take."""

from typing import Literal

FlowName = Literal["dis", "raft_small", "raft_large", "flownet2"]
DatasetName = Literal["camvid", "cityscapes", "own", "street"]
SplitName = Literal["train", "val", "test"]
