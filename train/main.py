"""`accelerate launch train/main.py --recipe NAME`: trains one recipe. Plain `python train/main.py` does the same."""

import argparse
import difflib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

if not __package__:  # run by its path: Python then looks for packages beside this file, not in the folder above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro
from accelerate import Accelerator

from dwnet.data.open import Kind
from train.loop import Interrupted, Trainer, TrainingError
from train.recipes import RECIPES
from train.spec import Recipe

EXIT_INTERRUPTED = 75
"""Exit status after SIGTERM or SIGINT: the run was saved, `--resume` continues it (EX_TEMPFAIL of sysexits.h).

`accelerate launch` itself ends with status 1 whenever its processes end with another than 0."""

DESCRIPTION = "Trains one recipe; every setting can be changed here. --resume continues OUTPUT/NAME/last.pt."


def parse(arguments: list[str], *, quiet: bool = False) -> tuple[Recipe, bool]:
    """The recipe named by `--recipe`, changed by the other options; and whether to resume.

    Args:
        arguments: of the command line.
        quiet: print no error (another process does).

    Raises:
        SystemExit: with one message, for an unknown recipe or option, or a value that is not allowed.
    """
    parser = argparse.ArgumentParser(prog="train/main.py", description=DESCRIPTION, add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe", metavar="NAME", help=f"required, one of: {', '.join(RECIPES)}")
    parser.add_argument(
        "--data",
        choices=get_args(Kind),
        help="another data set than the recipe's; the street comes with its own, rendered neighbours",
    )
    parser.add_argument("--resume", action="store_true", help="continue OUTPUT/NAME/last.pt")
    known, rest = parser.parse_known_args(arguments)
    if known.recipe is None and {"-h", "--help"} & set(rest):
        parser.print_help()
        print("\nThe settings of a recipe: train/main.py --recipe NAME --help")  # noqa: T201
        raise SystemExit(0)
    if known.recipe not in RECIPES:
        near = difflib.get_close_matches(known.recipe or "", RECIPES, n=2, cutoff=0.5)
        asked = f"unknown recipe {known.recipe!r}" if known.recipe else "no recipe: add --recipe NAME"
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise SystemExit(1 if quiet else f"train/main.py: {asked}{hint}; allowed are {', '.join(RECIPES)}")
    chosen = RECIPES[known.recipe]
    if known.data is not None:
        neighbours: Literal["video", "camera_motion"] = "video" if known.data == "street" else "camera_motion"
        chosen = replace(chosen, data=replace(chosen.data, kind=known.data, neighbours=neighbours))
    recipe = tyro.cli(
        Recipe,
        default=chosen,
        args=rest,
        prog=f"train/main.py --recipe {known.recipe} [--data NAME] [--resume]",
        description=DESCRIPTION,
        console_outputs=not quiet,
    )
    return recipe, known.resume


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status (0, 1 for a clear error, 75 when interrupted and saved)."""
    first = os.environ.get("RANK", "0") == "0"
    recipe, resume = parse(sys.argv[1:] if arguments is None else arguments, quiet=not first)
    folder = recipe.output / recipe.name
    trainer: Trainer | None = None
    try:
        if not resume and (folder / "last.pt").exists():
            raise ValueError(f"{folder} holds a run already: add --resume to continue it, or choose another --name")
        # "no" leaves the precision to Accelerate's own configuration, as devices, processes and accumulation are.
        accelerator = Accelerator(
            mixed_precision=None if recipe.precision == "no" else recipe.precision,
            log_with="tensorboard",
            project_dir=str(folder),
        )
        _check(accelerator)
        trainer = Trainer(replace(recipe, precision=accelerator.mixed_precision), accelerator, resume=resume)
        accelerator.print(trainer.summary(), flush=True)
        metrics = trainer.run()
    except Interrupted as stop:
        if first:
            print(f"train/main.py: {stop}; continue with --resume", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    except (ValueError, TrainingError, OSError) as error:
        # Before training every process finds the same error; later it may be that of one process alone.
        if first or trainer is not None:
            print(f"train/main.py: {_message(error)}", file=sys.stderr)  # noqa: T201
        return 1
    accelerator.print(f"done: val mIoU {metrics['miou_percent']:.2f}; {folder / 'last.pt'}")
    return 0


def _check(accelerator: Accelerator) -> None:
    """Refuses what Accelerate passes over in silence."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise ValueError(
            f"started as {started} processes that Accelerate does not join (it found no accelerators); "
            "for several processes on a CPU set ACCELERATE_USE_CPU=true"
        )
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("precision fp16 needs a GPU, found the CPU alone; allowed here are no and bf16")


def _message(error: Exception) -> str:
    """One message; of an error in a loader's worker, which torch wraps into a printed traceback, its last line."""
    text = str(error).strip()
    if text.startswith("Caught ") and "\nOriginal Traceback " in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return text


if __name__ == "__main__":
    sys.exit(main())
