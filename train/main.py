"""`accelerate launch train/main.py --recipe NAME`: trains one recipe. Plain `python train/main.py` does the same."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

if not __package__:  # run by its path: Python then looks for packages beside this file, not in the folder above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # before training there is nothing to save: end without a traceback

from dwnet.core.extras import missing_extra

try:
    from train.config.options import PROGRAM, Request, parse, with_nearest
    from train.engine.batches import shared_memory_problem
    from train.engine.build import build_accelerator
    from train.engine.dry_run import dry_run
    from train.engine.loop import Interrupted, Trainer, TrainingError
    from train.engine.stopping import stop_with_launcher
except ModuleNotFoundError as error:
    missing = missing_extra(error)
    if missing is None:
        raise
    raise SystemExit(f"train/main.py: {missing}") from None

EXIT_INTERRUPTED = 75
"""Exit status after SIGTERM or SIGINT (EX_TEMPFAIL of sysexits.h). The run is saved, and `--resume` continues it.

`accelerate launch` ends with status 1 if one of its processes ends with a status other than 0."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status (0, 1 after an error message, 75 when interrupted and saved).

    Raises:
        SystemExit: with status 2, for an option or value that is not allowed; with status 0 after `--help`.
    """
    first = os.environ.get("RANK", "0") == "0"
    request = parse(sys.argv[1:] if arguments is None else arguments, quiet=not first)
    stop_with_launcher()
    trainer: Trainer | None = None
    try:
        trainer = _trainer(request)
        if request.dry_run:
            trainer.accelerator.print(dry_run(trainer))
            return 0
        trainer.accelerator.print(trainer.summary(), flush=True)
        metrics = trainer.run()
    except Interrupted as stop:
        if first:
            print(f"{PROGRAM}: {stop}; continue with --resume", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    except (ValueError, TrainingError, OSError) as error:
        # Before training every process finds the same error. Later it may be the error of one process alone.
        if first or trainer is not None:
            print(f"{PROGRAM}: {with_nearest(_message(error))}", file=sys.stderr)  # noqa: T201
        return 1
    except RuntimeError as error:
        problem = shared_memory_problem(error)
        if problem is None:
            raise
        print(f"{PROGRAM}: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    trainer.accelerator.print(f"done: val mIoU {metrics['miou_percent']:.2f}; {trainer.files.last}")
    return 0


def _trainer(request: Request) -> Trainer:
    """Returns the trainer. Precision comes from Accelerate's configuration.

    Raises:
        ValueError: if the run exists and `--resume` is not given; for errors of `build_accelerator` and `Trainer`.
    """
    recipe = request.recipe
    if request.dry_run:  # keep no rendered frames
        recipe = replace(recipe, data=replace(recipe.data, street_cache_gb=0.0))
    if not request.resume and not request.dry_run and (recipe.run_folder / "last.pt").exists():
        raise ValueError(
            f"{recipe.run_folder} holds a run already: add --resume to continue it, or choose another --name"
        )
    accelerator = build_accelerator(recipe, tracked=not request.dry_run)
    return Trainer(replace(recipe, precision=accelerator.mixed_precision), accelerator, resume=request.resume)


def _message(error: Exception) -> str:
    """Returns the message of an error. If it is the traceback of a loader's worker, returns the original message."""
    text = str(error).strip()
    if text.startswith("Caught ") and "\nOriginal Traceback " in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return text


if __name__ == "__main__":
    sys.exit(main())
