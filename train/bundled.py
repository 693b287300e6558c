"""`python train/bundled.py`: trains the bundled networks and their controls, for several seeds, several runs at once.

For each seed, one first network is trained on single frames. Every method starts from its last weights. The rule is
fixed beforehand: the last epoch of a fixed schedule; nothing is chosen on val.
"""

import re
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

if not __package__:  # run by its path: Python then looks for packages beside this file, not in the folder above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dwnet.core.extras import missing_extra

try:
    import tyro

    from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
    from train.ablation.subprocess_run import SubprocessTraining
except ModuleNotFoundError as error:
    missing = missing_extra(error)
    if missing is None:
        raise
    raise SystemExit(f"train/bundled.py: {missing}") from None

PROGRAM = "train/bundled.py"
DESCRIPTION = """Trains the bundled networks: for each seed a first network on single frames, then every method from its
last weights. Finished runs are not repeated and interrupted runs are continued: start the same command again.

All other options are options of train/main.py, for every run: --root DIR, --precision bf16."""

FIRST = "camvid_bundled_first_baseline"
"""Recipe of the first network."""

METHODS = {
    "baseline": ("camvid_bundled_baseline",),
    "static_warp": ("camvid_bundled_static_warp",),
    "dwnet": ("camvid_bundled_dwnet",),
}
"""Arguments of each bundled network after `--recipe`."""

_NO_CHANGES = ("--data.photometric", "0")
CONTROLS = {
    "baseline_plain": ("camvid_bundled_baseline", *_NO_CHANGES),
    "dwnet_plain": ("camvid_bundled_dwnet", *_NO_CHANGES, "--data.neighbour-photometric", "0"),
}
"""The same without photometric changes. Only these rows tell the method from the changes."""

EXIT_INTERRUPTED = 75
"""Exit status after SIGTERM or SIGINT, as in train/main.py."""


@dataclass(frozen=True)
class Options:
    """The options of train/bundled.py itself."""

    seeds: int = 3
    """Number of seeds: 0, 1, ..."""
    only: tuple[str, ...] = ()
    """Only these networks; default all bundled ones and the controls."""
    parallel: int = 1
    """Number of runs at the same time. A small network leaves most of a GPU idle: 4 or more. On a CPU: 1."""
    first_precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the first networks."""
    output: Path = Path("runs/bundled")
    """Folder of the runs."""
    half: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Also write each finished network there as NAME.pt: half precision, without the state of the trainer."""

    def __post_init__(self) -> None:
        for name in ("seeds", "parallel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed are whole numbers of at least 1")
        unknown = set(self.only) - {*METHODS, *CONTROLS}
        if unknown:
            raise ValueError(f"only: found {sorted(unknown)[0]!r}, allowed are {', '.join([*METHODS, *CONTROLS])}")


@dataclass
class Run:
    """One training run."""

    name: str
    recipe: tuple[str, ...]
    """Recipe, and further arguments of train/main.py."""
    seed: int
    after: str | None = None
    """Name of the run whose last weights it starts from."""
    lines: list[str] = field(default_factory=list)
    """Output."""

    def arguments(self, output: Path, options: list[str]) -> list[str]:
        """Returns the arguments of train/main.py."""
        found = ["--recipe", *self.recipe, "--name", self.name, "--seed", str(self.seed), "--output", str(output)]
        found += options
        if self.after is not None:
            found += ["--start-from", str(output / self.after / "last.pt")]
        return [*found, "--resume"] if (output / self.name / "last.pt").exists() else found


def plan(options: Options) -> dict[str, Run]:
    """Returns the runs by name, first networks first."""
    runs: dict[str, Run] = {}
    first = (FIRST, "--precision", options.first_precision)
    for seed in range(options.seeds):
        runs[f"first_seed{seed}"] = Run(f"first_seed{seed}", first, seed)
    for group in (METHODS, CONTROLS):
        for seed in range(options.seeds):
            for name, recipe in group.items():
                if name in options.only or not options.only:
                    run = Run(f"{name}_seed{seed}", recipe, seed, f"first_seed{seed}")
                    runs[run.name] = run
    return runs


def half_precision(checkpoint: Checkpoint) -> Checkpoint:
    """Returns a checkpoint for inference and export: filters in float16, norms and biases in float32, no trainer."""
    weights = {
        name: value.half() if value.ndim > 1 and value.is_floating_point() else value
        for name, value in checkpoint.weights.items()
    }
    return replace(checkpoint, weights=weights, training={})


def run_all(options: Options, rest: list[str], training: SubprocessTraining) -> dict[str, str]:
    """Runs all runs, each after the one it starts from; returns the result of each, "failed" first if it failed."""
    runs, results = plan(options), dict[str, str]()
    lock, start = threading.Lock(), time.monotonic()

    def say(run: Run, line: str) -> None:
        run.lines.append(line)
        if re.search(r"\biteration \d+0/|\bepoch\b|mIoU|train/", line):
            with lock:
                print(f"[{time.monotonic() - start:6.0f} s] {run.name}: {line}", flush=True)  # noqa: T201

    def work(run: Run) -> str:
        status = training.run(run.arguments(options.output, rest), lambda line: say(run, line))
        last = next((line for line in reversed(run.lines) if line.strip()), "no output")
        if status == 0 and options.half is not None:
            options.half.mkdir(parents=True, exist_ok=True)
            checkpoint = load_checkpoint(options.output / run.name / "last.pt")
            half_precision(checkpoint).save(options.half / f"{run.name}.pt")
        return last if status == 0 else f"failed with status {status}: {last}"

    waiting, working = dict(runs), dict[Future[str], str]()
    with ThreadPoolExecutor(options.parallel) as pool:
        while (waiting or working) and not training.stopped:
            for name, run in list(waiting.items()):
                if run.after is not None and results.get(run.after, "").startswith("failed"):
                    results[name] = f"failed: it starts from {run.after}"
                    del waiting[name]
                elif len(working) < options.parallel and (run.after is None or run.after in results):
                    working[pool.submit(work, run)] = name
                    del waiting[name]
            done, _ = wait(working, return_when=FIRST_COMPLETED, timeout=1.0)
            for future in done:
                results[working.pop(future)] = future.result()
        wait(working)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status (0, 1 if a run failed, 75 after a stop signal)."""
    given = sys.argv[1:] if arguments is None else arguments
    options, rest = tyro.cli(Options, args=given, prog=PROGRAM, description=DESCRIPTION, return_unknown_args=True)
    with SubprocessTraining() as training:
        results = run_all(options, list(rest), training)
    for name, result in results.items():
        print(f"{name}: {result}")  # noqa: T201
    if training.stopped:
        print(f"{PROGRAM}: stopped; the same command continues", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    return 1 if any(result.startswith("failed") for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
