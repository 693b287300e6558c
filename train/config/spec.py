"""The dataclasses of a recipe. Each field is an option of the command line."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dwnet.core.data_kinds import DataKind, PairNeighbours
from dwnet.core.launch import ALONE, threads
from dwnet.method.specs import DWNetSpec, MethodSpec
from dwnet.segmentation import NetworkSpec


def loader_processes() -> int:
    """Returns the number of CPU cores for each process of the launch, 1 to 16."""
    return min(16, threads(ALONE))


@dataclass(frozen=True)
class DataSpec:
    """Neighbours, augmentation and loading."""

    neighbours: PairNeighbours = "camera_motion"
    """Source of I_{t+k}. camera_motion: a synthetic camera motion of I_t. labelled: another labelled frame. video: a
    real video frame; the street renders it. mixed: video or camera motion, drawn for each sample."""
    coarse_ratio: float = 0.0
    """cityscapes: number of coarsely labelled frames for each finely labelled one. Only the cross-entropy uses them."""
    street_size: tuple[int, int] = (360, 480)
    """street: height and width of its frames, in pixels."""
    street_cache_gb: float = 1.0
    """street: size of the disk cache of rendered frames, in 10^9 bytes; 0 turns it off."""
    max_offset: int = 5
    """Largest |k|, in raw frames (section 3.1)."""
    crop: tuple[int, int] = (384, 384)
    """Height and width of the training crop in pixels, multiples of the output stride (section 4.1.3)."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random scale (section 4.1.3)."""
    colour: float = 0.0
    """Largest change of brightness, contrast and saturation: each is a factor from 1 - colour to 1 + colour, the same
    for both frames. The paper has 0."""
    photometric: float = 0.0
    """Strength of random changes of exposure, white balance, sharpness, noise and JPEG compression, from 0 (off) to 2.
    Half of the labelled frames and half of the real neighbours are changed, each on its own, with every method. The
    paper has 0."""
    neighbour_photometric: float = 1.0
    """Strength of the same changes of each synthetic neighbour, from 0 (off) to 2."""
    mosaic: float = 0.0
    """Share of the training samples that are made of four frames, from 0 (off) to 1. Baseline only: a flow does not
    cross the seams. The paper has 0."""
    workers: int = field(default_factory=loader_processes)
    """Loader processes of each training process; default one for each CPU core of the process, at most 16."""

    def __post_init__(self) -> None:
        _require("data.crop", self.crop, min(self.crop) >= 1, "two whole numbers of at least 1")
        _require("data.colour", self.colour, 0 <= self.colour < 1, "numbers from 0 to below 1")
        for name in ("photometric", "neighbour_photometric"):
            value = getattr(self, name)
            _require(f"data.{name.replace('_', '-')}", value, 0 <= value <= 2, "numbers from 0 to 2")
        if self.neighbour_photometric != 1 and self.neighbours not in ("camera_motion", "mixed"):
            raise ValueError(
                f"data.neighbour-photometric is {self.neighbour_photometric}, but data.neighbours is "
                f"{self.neighbours} and makes no synthetic neighbour; allowed is 1.0"
            )
        _require("data.mosaic", self.mosaic, 0 <= self.mosaic <= 1, "numbers from 0 to 1")
        _require("data.workers", self.workers, self.workers >= 0, "whole numbers of at least 0")
        _require("data.coarse-ratio", self.coarse_ratio, 0 <= self.coarse_ratio < math.inf, "numbers of at least 0")
        _require(
            "data.street-cache-gb", self.street_cache_gb, 0 <= self.street_cache_gb < math.inf, "numbers of at least 0"
        )


@dataclass(frozen=True)
class OptimiserSpec:
    """SGD with the poly learning rate of section 4.1.3."""

    rate: float = 0.01
    """Base learning rate."""
    head_rate_factor: float = 1.0
    """Factor on the learning rate of the segmenter's head (all but its backbone). The paper has 1."""
    flow_rate: float = 1e-5
    """Base learning rate of a trainable flow network."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Weight decay (L2)."""
    decay_norms: bool = True
    """Apply weight decay to norm and bias parameters too."""
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
    """Name of the run and of its folder."""
    dataset: DataKind = "camvid"
    """Data set: camvid, cityscapes, own (your own, `dwnet/data/own.py`), or the rendered street. It does not change
    `--data.neighbours`."""
    root: Path | None = None
    """Folder of the data set; default data/DATASET. For the street it is the folder of the cache."""
    data: DataSpec = field(default_factory=DataSpec)
    network: NetworkSpec = field(default_factory=NetworkSpec)
    method: MethodSpec = field(default_factory=DWNetSpec)
    optimiser: OptimiserSpec = field(default_factory=OptimiserSpec)
    backbone_weights: str = "imagenet"
    """Initial weights of the backbone: imagenet, none, or a weight file."""
    start_from: Path | None = None
    """Fine-tuning: a checkpoint of any method. Training starts from its segmenter's weights instead of
    `--backbone-weights`. If its classes differ from those of the data, its classifiers are not loaded."""
    class_balance: float = 0.0
    """Weight of rare classes in the cross-entropy, from 0 (the paper's, no weights) to 1 (median frequency weights). A
    class has the weight (median share / share of the class) ** class_balance, scaled to a mean of 1 over pixels, 10 at
    most. All training labels are read first (Cityscapes: fine labels; street: 40 frames). Must be 0 with
    `--method.class-weights`, which sets the weights directly."""
    epochs: int = 40
    """Passes over the training split."""
    batch_size: int = 8
    """Labelled frames of one optimiser step, over all processes and accumulated batches."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision. "no" uses the setting of Accelerate's configuration, which is none by default."""
    compile: bool = False
    """Use torch.compile with its default backend; `accelerate config` sets other backends."""
    channels_last: bool = True
    """Channels-last memory format; faster on most CPUs and GPUs."""
    seed: int = 0
    """Seed of all random numbers."""
    output: Path = Path("runs")
    """Folder of all runs. The run's files are in OUTPUT/NAME."""
    evaluate_every: int = 5
    """Epochs between evaluations on val; the last epoch is always evaluated."""
    checkpoint_every: int = 100
    """Iterations between checkpoints. The end of each epoch writes one too."""
    keep_checkpoints: int = 0
    """Number of earlier checkpoints to keep as iteration_000400.pt and so on, beside last.pt and best.pt."""
    log_every: int = 10
    """Iterations between progress lines."""
    pictures: int = 2
    """Number of val frames that the trackers show as pictures at each evaluation."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Trackers of losses, IoUs and pictures: tensorboard, wandb, any other that Accelerate knows, or none."""

    def __post_init__(self) -> None:
        plain = self.name not in ("", ".", "..") and Path(self.name).name == self.name
        _require("name", self.name, plain, "names of one folder")
        for name in ("epochs", "batch_size", "evaluate_every", "checkpoint_every", "log_every"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "whole numbers of at least 1")
        for name in ("keep_checkpoints", "pictures"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "whole numbers of at least 0")
        _require("class-balance", self.class_balance, 0 <= self.class_balance <= 1, "numbers from 0 to 1")
        _require("seed", self.seed, 0 <= self.seed < 2**31, "whole numbers from 0 to 2147483647")

    @property
    def data_folder(self) -> Path:
        """Folder of the data set."""
        return Path("data", self.dataset) if self.root is None else self.root

    @property
    def run_folder(self) -> Path:
        """Folder of the run's files."""
        return self.output / self.name


def _require(name: str, found: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise ValueError(f"{name} is {found!r}, allowed are {allowed}")
