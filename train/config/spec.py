"""What a run is made of: the dataclasses of a recipe, each field an option of the command line."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dwnet.core.data_kinds import DataKind, PairNeighbours
from dwnet.core.launch import available_cpus
from dwnet.method.specs import DWNetSpec, MethodSpec
from dwnet.segmentation import NetworkSpec


def loader_processes() -> int:
    """As many as this process has cores: the launcher says how many processes share those of this machine."""
    return max(1, min(16, available_cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@dataclass(frozen=True)
class DataSpec:
    """Where the pictures come from, and how they are augmented."""

    kind: DataKind = "camvid"
    """Which data set: camvid, cityscapes, own (your own, `dwnet/data/own.py`), or the rendered street."""
    root: Path | None = None
    """Its folder; by default data/KIND. The street's holds its cache."""
    neighbours: PairNeighbours = "camera_motion"
    """Where I_{t+k} comes from: a synthetic camera motion of I_t; another labelled frame; real video frames; or mixed,
    video and camera motion by turns. The street renders its video."""
    coarse_ratio: float = 0.0
    """cityscapes: coarsely labelled frames for each finely labelled one, by cross-entropy only."""
    street_size: tuple[int, int] = (360, 480)
    """street: height and width of its frames."""
    street_cache_gb: float = 1.0
    """street: how much of what was rendered is kept on disk for later epochs and runs, in 10^9 bytes; 0 keeps none."""
    max_offset: int = 5
    """Largest |k|, in raw frames (section 3.1)."""
    crop: tuple[int, int] = (384, 384)
    """Height and width of the training crop, multiples of the output stride (section 4.1.3)."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random scale (section 4.1.3)."""
    colour: float = 0.0
    """Largest change of brightness, contrast and saturation, each a factor from 1 - colour to 1 + colour, the same for
    both frames; 0 is the paper's."""
    workers: int = field(default_factory=loader_processes)
    """Loader processes for each training process; by default one for each of its cores, 16 at most."""

    def __post_init__(self) -> None:
        _require("data.crop", self.crop, min(self.crop) >= 1, "two whole numbers of at least 1")
        _require("data.colour", self.colour, 0 <= self.colour < 1, "numbers from 0 to below 1")
        _require("data.workers", self.workers, self.workers >= 0, "whole numbers of at least 0")
        _require("data.coarse-ratio", self.coarse_ratio, 0 <= self.coarse_ratio < math.inf, "numbers of at least 0")
        _require(
            "data.street-cache-gb", self.street_cache_gb, 0 <= self.street_cache_gb < math.inf, "numbers of at least 0"
        )

    @property
    def folder(self) -> Path:
        """Where the data lies."""
        return Path("data", self.kind) if self.root is None else self.root


@dataclass(frozen=True)
class OptimiserSpec:
    """SGD with the poly rate of section 4.1.3."""

    rate: float = 0.01
    """Base learning rate."""
    head_rate_factor: float = 1.0
    """Factor on the rate of the segmenter's head, all but its backbone; the paper has 1."""
    flow_rate: float = 1e-5
    """Base learning rate of a trainable flow network."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_norms: bool = True
    """Weight decay on norm and bias parameters too."""
    power: float = 0.9
    """The rate is multiplied by (1 - iteration / iterations) ** power, after each iteration."""

    def __post_init__(self) -> None:
        for name in ("rate", "head_rate_factor", "flow_rate", "momentum", "weight_decay", "power"):
            value = getattr(self, name)
            _require(f"optimiser.{name}", value, 0 <= value < math.inf, "numbers of at least 0")


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    """Names the run's folder."""
    data: DataSpec = field(default_factory=DataSpec)
    network: NetworkSpec = field(default_factory=NetworkSpec)
    method: MethodSpec = field(default_factory=DWNetSpec)
    optimiser: OptimiserSpec = field(default_factory=OptimiserSpec)
    backbone_weights: str = "imagenet"
    """imagenet, none, or a weight file."""
    start_from: Path | None = None
    """A checkpoint whose segmenter training starts from, whatever method trained it: fine-tuning. Of other classes than
    the data's, its classifiers are left out. It takes the place of the backbone's weights."""
    class_balance: float = 0.0
    """How much more rare classes weigh in the cross-entropy, from 0, the paper's, to 1, median frequency weights: as
    (median share / share of the class) ** class_balance, for a mean of 1 over pixels, and 10 at most. All labels of
    training are read for it first (of Cityscapes the fine ones, of the street 40 frames). 0 beside
    `--method.class-weights`, which gives weights outright."""
    epochs: int = 40
    batch_size: int = 8
    """Labelled frames of a step, over all processes and accumulated batches."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision; "no" leaves it to Accelerate's configuration, whose own default is none."""
    compile: bool = False
    """torch.compile with its own default backend; `accelerate config` sets others."""
    channels_last: bool = True
    """Memory format of maps; faster on most CPUs and GPUs."""
    seed: int = 0
    output: Path = Path("runs")
    """The run's files go to OUTPUT/NAME."""
    evaluate_every: int = 5
    """Epochs between evaluations on val; the last epoch is always evaluated."""
    checkpoint_every: int = 100
    """Iterations between checkpoints, besides the one at the end of each epoch."""
    keep_checkpoints: int = 0
    """How many of them stay, the latest, as iteration_000400.pt and so on, beside last.pt and best.pt."""
    log_every: int = 10
    """Iterations between progress lines."""
    pictures: int = 2
    """Frames of val that the trackers get pictures of, at each evaluation."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Who records losses, IoUs and pictures: tensorboard, wandb, or any other that Accelerate knows; or none."""

    def __post_init__(self) -> None:
        plain = self.name not in ("", ".", "..") and Path(self.name).name == self.name
        _require("name", self.name, plain, "names of one folder")
        for name in ("epochs", "batch_size", "evaluate_every", "checkpoint_every", "log_every"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "whole numbers of at least 1")
        for name in ("keep_checkpoints", "pictures"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "whole numbers of at least 0")
        _require("class-balance", self.class_balance, 0 <= self.class_balance <= 1, "numbers from 0 to 1")
        _require("seed", self.seed, 0 <= self.seed < 2**31, "whole numbers from 0 to 2147483647")


def _require(name: str, found: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise ValueError(f"{name} is {found!r}, allowed are {allowed}")
