"""Command line of `train/ablate.py` and its plan: the training runs of each table row."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from dwnet.core.files import atomic_write
from dwnet.method.specs import SPECS
from train.ablation.summary import METRICS
from train.ablation.tables import TABLES, Row, Table
from train.config.options import did_you_mean, parse
from train.config.recipes import BASES, VARIANTS
from train.config.spec import Recipe
from train.monitoring.run_folder import FREE_TO_CHANGE, flat, recipe_dict, settings

PROGRAM = "train/ablate.py"
_ROWS = "; ".join(f"{name} ({', '.join(row.name for row in table.rows)})" for name, table in TABLES.items())

DESCRIPTION = f"""Runs the rows of a table, one train/main.py after another, and prints our results beside the paper's.

Finished runs are not repeated, and interrupted runs are continued: start the same command again. Results are those of
the last epoch's weights on val. OUTPUT/TABLE.md and OUTPUT/TABLE.json are written after each run.

All other options are options of train/main.py, for every run: --dataset own --root DIR, --epochs 4.

Tables and their rows: {_ROWS}."""

SCORES = "scores.json"
"""A file in a run's folder: the run's results and its recipe. A run that has it is finished."""

SET_FOR_EACH_RUN = {"--recipe", "--name", "--seed", "--resume"}
"""Options of train/main.py that the plan sets."""

_LAUNCHER_OPTIONS = PrimitiveConstructorSpec[str](
    nargs="*",
    metavar="[OPTIONS]",
    instance_from_str=" ".join,
    is_instance=lambda value: isinstance(value, str),
    str_from_instance=lambda value: [value],
)


@dataclass(frozen=True)
class Options:
    """The options of train/ablate.py itself."""

    table: Annotated[
        tyro.conf.Positional[Literal[tuple(TABLES)]],  # type: ignore[valid-type]
        tyro.conf.arg(help="Table to run."),
    ]
    rows: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ROW...")] = ()
    """Only these rows of the table; default all."""
    seeds: int = 3
    """Number of runs of each row, with seeds 0, 1, ..."""
    base: Literal[tuple(BASES)] | None = None  # type: ignore[valid-type]
    """Base recipe whose network, data and schedule replace those of the rows."""
    output: Path = Path("runs/ablations")
    """Folder of the runs and of the table's files."""
    flownet2: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Train FlowNet2 jointly, as the paper does, from NVIDIA's weight file."""
    accelerate: Annotated[str | None, _LAUNCHER_OPTIONS] = None
    """Start each run by accelerate launch, with these options: --accelerate='--multi_gpu --num_processes 4'."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """List the runs and their commands, then exit."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds is {self.seeds}, allowed are whole numbers of at least 1")
        allowed = [row.name for row in TABLES[self.table].rows]
        for name in self.rows:
            if name not in allowed:
                raise ValueError(
                    f"unknown row {name!r}{did_you_mean(name, allowed)}; allowed in {self.table} are "
                    f"{', '.join(allowed)}"
                )


@dataclass(frozen=True)
class Request:
    """Parsed command line of train/ablate.py."""

    name: str
    """A key of `TABLES`."""
    rows: tuple[Row, ...]
    seeds: int
    base: str | None
    """A key of `BASES` that replaces the rows' own bases; None keeps them."""
    output: Path
    flownet2: Path | None
    """FlowNet2's weight file: it replaces DIS and is trained jointly, in all rows that use a flow."""
    accelerate: str | None
    """Options of `accelerate launch`; None starts runs without it."""
    options: tuple[str, ...]
    """Further options, for train/main.py."""
    dry_run: bool = False

    @property
    def table(self) -> Table:
        """The table of this name."""
        return TABLES[self.name]


@dataclass
class Run:
    """One row with one seed. Rows with the same recipe share a run."""

    recipe: Recipe
    arguments: list[str]
    """Arguments of train/main.py."""
    state: Literal["to do", "done", "failed"] = "to do"
    error: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder that train/main.py writes to."""
        return self.recipe.run_folder

    @property
    def to_resume(self) -> bool:
        """Whether the run has a checkpoint and is not finished."""
        return self.state != "done" and (self.folder / "last.pt").exists()

    def keep(self, scores: dict[str, float | None]) -> None:
        """Writes the results to the file `SCORES` and marks the run as done."""
        with atomic_write(self.folder / SCORES) as path:
            path.write_text(json.dumps({**scores, "recipe": recipe_dict(self.recipe)}, indent=2) + "\n")
        self.state, self.error, self.scores = "done", "", scores

    def outcome(self) -> dict[str, Any]:
        """Returns the run's `Outcome` for `train.ablation.summary.summarise`."""
        common = {"name": self.recipe.name, "seed": self.recipe.seed, "state": self.state}
        return common | ({"error": self.error} if self.error else {}) | self.scores


Plan = dict[str, list[Run]]
"""Runs by row name, in the order of the seeds. The list is empty for a row that cannot be run."""


def read_request(arguments: list[str]) -> Request:
    """Reads the command line.

    Raises:
        SystemExit: with status 2 after a message, for an option or value that is not allowed; with status 1 after a
            message, for an option that the plan sets; with status 0 after `--help`.
    """
    options, rest = tyro.cli(Options, args=arguments, prog=PROGRAM, description=DESCRIPTION, return_unknown_args=True)
    taken = sorted(SET_FOR_EACH_RUN & {option.partition("=")[0] for option in rest})
    if taken:
        raise SystemExit(f"{PROGRAM}: {taken[0]} is set for each run; allowed are other options of train/main.py")
    rows = {row.name: row for row in TABLES[options.table].rows}
    return Request(
        name=options.table,
        rows=tuple(rows[name] for name in dict.fromkeys(options.rows or rows)),
        seeds=options.seeds,
        base=options.base,
        output=options.output,
        flownet2=options.flownet2,
        accelerate=options.accelerate,
        options=tuple(rest),
        dry_run=options.dry_run,
    )


def make_plan(request: Request) -> tuple[Plan, dict[str, str]]:
    """Returns the runs of each row, and the notes on rows.

    Raises:
        SystemExit: after a message, for an option that train/main.py refuses, or for a run that was finished with other
            options.
    """
    plan: Plan = {}
    notes = {row.name: row.note for row in request.rows}
    made: dict[Recipe, Run] = {}
    for row in request.rows:
        plan[row.name] = []
        for seed in range(request.seeds) if row.base else ():
            arguments = _arguments(request, row, seed)
            recipe = parse(arguments).recipe
            if recipe.data.coarse_ratio and recipe.dataset != "cityscapes":
                notes[row.name] = "not run: only Cityscapes has a coarse set"
                break
            same = replace(recipe, name="same")
            if same not in made:
                made[same] = Run(recipe, arguments)
                _read_scores(made[same])
            plan[row.name].append(made[same])
    return plan, notes


def _arguments(request: Request, row: Row, seed: int) -> list[str]:
    """Returns the arguments of train/main.py for one run."""
    base, changes = request.base or row.base, VARIANTS[row.variant]
    name, options = base, list(request.options)
    segmenter = BASES[row.base].network.segmenter
    if request.table.compares_networks and segmenter != BASES[base].network.segmenter:
        name = f"{base}_{segmenter}"
        options += ["--network.segmenter", segmenter]
    if request.base is not None and BASES[row.base].data.coarse_ratio:
        name += "_coarse"
        options += ["--data.coarse-ratio", str(BASES[row.base].data.coarse_ratio)]
    if request.flownet2 is not None and SPECS[changes["method.name"]].needs_neighbour:
        options += ["--method.flow", "flownet2", "--method.flow-weights", str(request.flownet2), "--method.train-flow"]
    run_name = f"{name}_{row.variant}_seed{seed}"
    own = ["--name", run_name, "--seed", str(seed), "--output", str(request.output)]
    return ["--recipe", f"{base}_{row.variant}", *options, *own]


def _read_scores(run: Run) -> None:
    """Marks a run as done if its folder has results.

    Raises:
        SystemExit: after a message, if the results are those of another configuration.
    """
    path = run.folder / SCORES
    if not path.is_file():
        return
    content = json.loads(path.read_text())
    then, now = settings(content["recipe"], run.recipe), flat(recipe_dict(run.recipe))
    changed = [key for key in now if key not in FREE_TO_CHANGE and then[key] != now[key]]
    if changed:
        key = changed[0]
        raise SystemExit(
            f"{PROGRAM}: {run.folder} was run with another configuration ({key} was {then[key]}, now {now[key]}); "
            "choose another --output"
        )
    run.state, run.scores = "done", {metric: content[metric] for metric in METRICS}
