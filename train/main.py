"""`accelerate launch train/main.py --recipe NAME`: trains one recipe. Plain `python train/main.py` does the same."""

import sys
from pathlib import Path

import tyro
from accelerate import Accelerator

from train.loop import EXIT_INTERRUPTED, Interrupted, Trainer, TrainingError
from train.recipes import RECIPES, Recipe


def parse(arguments: list[str]) -> tuple[Recipe, bool]:
    """The recipe named by `--recipe`, changed by the other options; and whether to resume.

    Raises:
        SystemExit: with one message, for an unknown recipe or option.
    """
    rest, name, resume = [], None, False
    iterator = iter(arguments)
    for argument in iterator:
        if argument == "--resume":
            resume = True
        elif argument == "--recipe":
            name = next(iterator, None)
        elif argument.startswith("--recipe="):
            name = argument.partition("=")[2]
        else:
            rest.append(argument)
    if name not in RECIPES:
        asked = "no recipe named" if name is None else f"unknown recipe {name!r}"
        raise SystemExit(f"train/main.py: {asked}; use --recipe NAME, allowed are: {', '.join(sorted(RECIPES))}")
    recipe = tyro.cli(
        Recipe,
        default=RECIPES[name],
        args=rest,
        prog=f"train/main.py --recipe {name} [--resume]",
        description="Trains one recipe; every setting can be changed here. --resume continues OUTPUT/NAME/last.pt.",
    )
    return recipe, resume


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status (0, 1 for a clear error, 75 when interrupted and saved)."""
    recipe, resume = parse(sys.argv[1:] if arguments is None else arguments)
    folder = recipe.output / recipe.name
    accelerator = Accelerator(
        mixed_precision=recipe.precision,
        log_with="tensorboard",
        project_dir=str(folder),
    )
    try:
        if not resume and (folder / "last.pt").exists():
            raise ValueError(f"{folder} holds a run already: add --resume to continue it, or choose another --name")
        trainer = Trainer(recipe, accelerator, resume=resume)
        accelerator.print(
            f"{recipe.name}: {len(trainer.train_data)} frames, {trainer.iterations} iterations in {recipe.epochs} "
            f"epochs, {accelerator.num_processes} process(es) on {accelerator.device.type}; output in {folder}",
            flush=True,
        )
        metrics = trainer.run()
    except Interrupted as stop:
        accelerator.print(f"{stop}; continue with --resume")
        return EXIT_INTERRUPTED
    except (ValueError, TrainingError) as error:
        accelerator.print(f"train/main.py: {error}", file=sys.stderr)
        return 1
    accelerator.print(f"done: val mIoU {metrics['miou_percent']:.2f}; {Path(folder) / 'last.pt'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
