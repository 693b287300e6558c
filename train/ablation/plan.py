"""What `train/ablate.py` is asked for, and the runs that it comes to."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dwnet.core.files import atomic_write
from dwnet.method.specs import SPECS
from train.ablation.summary import FIGURES
from train.ablation.tables import TABLES, Row, Table
from train.config.options import did_you_mean, parse
from train.config.recipes import BASES, VARIANTS
from train.config.spec import Recipe
from train.monitoring.run_folder import FREE_TO_CHANGE, flat, recipe_dict, settings

PROGRAM = "train/ablate.py"
DESCRIPTION = """Runs a table's rows, one train/main.py after another, and prints our figures beside the paper's. What
is finished is not run again, and what was interrupted is continued: the same command, started again, goes on. Figures
are those of the last epoch's weights on val; OUTPUT/TABLE.md and OUTPUT/TABLE.json are written after each run."""

SCORES = "scores.json"
"""In a run's folder: its figures, and the recipe that gave them. A run that has it is finished."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    name: str
    """A key of `TABLES`."""
    rows: tuple[Row, ...]
    seeds: int
    base: str | None
    """A key of `BASES` that takes the place of the rows' own; None leaves them."""
    output: Path
    flownet2: Path | None
    """FlowNet2's weights: it replaces DIS, and is trained jointly, in all rows that have a flow."""
    accelerate: str | None
    options: tuple[str, ...]
    """Further ones, for train/main.py."""
    dry_run: bool = False

    @property
    def table(self) -> Table:
        """The table itself."""
        return TABLES[self.name]


@dataclass
class Run:
    """One row with one seed; rows that come to the same recipe share it."""

    recipe: Recipe
    arguments: list[str]
    """Of train/main.py."""
    state: Literal["to do", "done", "failed"] = "to do"
    error: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where train/main.py writes."""
        return self.recipe.output / self.recipe.name

    @property
    def to_resume(self) -> bool:
        """Whether it was begun, and not finished."""
        return self.state != "done" and (self.folder / "last.pt").exists()

    def keep(self, scores: dict[str, float | None]) -> None:
        """Writes what the run scored: it is finished."""
        with atomic_write(self.folder / SCORES) as path:
            path.write_text(json.dumps({**scores, "recipe": recipe_dict(self.recipe)}, indent=2) + "\n")
        self.state, self.error, self.scores = "done", "", scores

    def outcome(self) -> dict[str, Any]:
        """For `train.ablation.summary.summarise`."""
        said = {"name": self.recipe.name, "seed": self.recipe.seed, "state": self.state}
        return said | ({"error": self.error} if self.error else {}) | self.scores


Plan = dict[str, list[Run]]
"""The runs of each row, by the row's name, in the order of the seeds; empty for a row that cannot be run."""


def read_request(arguments: list[str]) -> Request:
    """The command line.

    Raises:
        SystemExit: with one message, for what is not allowed.
    """
    tables = "; ".join(f"{name} ({', '.join(row.name for row in table.rows)})" for name, table in TABLES.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=f"All other options are train/main.py's, for every run: --data street, --epochs 4. Tables: {tables}.",
        allow_abbrev=False,
    )
    parser.add_argument("table", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows of the table")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row, with seeds 0, 1, ...; default 3")
    parser.add_argument(
        "--base", help=f"network, data and schedule of another recipe than the paper's, such as {', '.join(BASES)}"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/ablations"), help="default runs/ablations")
    parser.add_argument(
        "--flownet2", type=Path, metavar="FILE", help="train FlowNet2 jointly, as the paper does, from NVIDIA's weights"
    )
    parser.add_argument(
        "--accelerate",
        nargs="?",
        const="",
        metavar="OPTIONS",
        help="start each run by accelerate launch, with these options: --accelerate='--multi_gpu --num_processes 4'",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their commands, and end")
    known, rest = parser.parse_known_args(arguments)
    table = TABLES[_known("table", known.table, TABLES)]
    by_name = {row.name: row for row in table.rows}
    taken = sorted({"--recipe", "--name", "--seed", "--resume"} & {option.partition("=")[0] for option in rest})
    if taken:
        raise SystemExit(f"{PROGRAM}: {taken[0]} is set for each run; allowed are other options of train/main.py")
    if known.seeds < 1:
        raise SystemExit(f"{PROGRAM}: --seeds is {known.seeds}, allowed are whole numbers of at least 1")
    return Request(
        name=known.table,
        rows=tuple(by_name[_known("row", name, by_name)] for name in dict.fromkeys(known.rows or by_name)),
        seeds=known.seeds,
        base=None if known.base is None else _known("base", known.base, BASES),
        output=known.output,
        flownet2=known.flownet2,
        accelerate=known.accelerate,
        options=tuple(rest),
        dry_run=known.dry_run,
    )


def make_plan(request: Request) -> tuple[Plan, dict[str, str]]:
    """The runs of each row, and what there is to say of a row.

    Raises:
        SystemExit: with one message, for an option that train/main.py refuses, or a run that was finished with others.
    """
    plan: Plan = {}
    notes = {row.name: row.note for row in request.rows}
    made: dict[Recipe, Run] = {}
    for row in request.rows:
        plan[row.name] = []
        for seed in range(request.seeds) if row.base else ():
            arguments = _arguments(request, row, seed)
            recipe = parse(arguments).recipe
            if recipe.data.coarse_ratio and recipe.data.kind != "cityscapes":
                notes[row.name] = "not run: only Cityscapes has a coarse set"
                break
            same = replace(recipe, name="same")
            if same not in made:
                made[same] = Run(recipe, arguments)
                _look_for_scores(made[same])
            plan[row.name].append(made[same])
    return plan, notes


def _arguments(request: Request, row: Row, seed: int) -> list[str]:
    base, changes = request.base or row.base, VARIANTS[row.variant]
    name, options = base, list(request.options)
    segmenter = BASES[row.base].network.segmenter
    if request.table.compares_networks and segmenter != BASES[base].network.segmenter:
        name = f"{base}_{segmenter}"
        options += ["--network.segmenter", segmenter]
    if request.base is not None and BASES[row.base].data.coarse_ratio:
        name += "_coarse"
        options += ["--data.coarse-ratio", str(BASES[row.base].data.coarse_ratio)]
    if "data.neighbours" in changes:  # `--data NAME` sets them too
        options += ["--data.neighbours", changes["data.neighbours"]]
    if request.flownet2 is not None and SPECS[changes["method.name"]].needs_neighbour:
        options += ["--method.flow", "flownet2", "--method.flow-weights", str(request.flownet2), "--method.train-flow"]
    run_name = f"{name}_{row.variant}_seed{seed}"
    own = ["--name", run_name, "--seed", str(seed), "--output", str(request.output)]
    return ["--recipe", f"{base}_{row.variant}", *options, *own]


def _look_for_scores(run: Run) -> None:
    path = run.folder / SCORES
    if not path.is_file():
        return
    content = json.loads(path.read_text())
    then, now = settings(content["recipe"]), flat(recipe_dict(run.recipe))
    changed = [key for key in now if key not in FREE_TO_CHANGE and then[key] != now[key]]
    if changed:
        key = changed[0]
        raise SystemExit(
            f"{PROGRAM}: {run.folder} was run with another configuration ({key} was {then[key]}, now {now[key]}); "
            "choose another --output"
        )
    run.state, run.scores = "done", {figure: content[figure] for figure in FIGURES}


def _known(what: str, name: str, allowed: Iterable[str]) -> str:
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise SystemExit(f"{PROGRAM}: unknown {what} {name!r}{hint}; allowed are {', '.join(allowed)}")
    return name
