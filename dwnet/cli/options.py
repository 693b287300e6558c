"""What options of several commands take."""

from typing import Literal

from dwnet.flow.registry import FlowName as FlowName

DatasetName = Literal["camvid", "cityscapes", "own", "street"]
SplitName = Literal["train", "val", "test"]
