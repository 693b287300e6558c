"""`python train/ablate.py TABLE --seeds 3`: runs a table's rows and prints our results beside the paper's."""

import json
import re
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

if not __package__:  # run by its path: Python then looks for packages beside this file, not in the folder above it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dwnet.core.extras import missing_extra
from dwnet.core.files import atomic_write, code_commit

try:
    from train.ablation.plan import PROGRAM, Plan, Request, Run, make_plan, read_request
    from train.ablation.scores import score
    from train.ablation.subprocess_run import SubprocessTraining
    from train.ablation.summary import markdown, summarise
except ModuleNotFoundError as error:
    missing = missing_extra(error)
    if missing is None:
        raise
    raise SystemExit(f"train/ablate.py: {missing}") from None

EXIT_INTERRUPTED = 75
"""Exit status after SIGTERM or SIGINT, as in train/main.py. The same command continues the runs."""


class Training(Protocol):
    """Interface that runs train/main.py. `train.ablation.subprocess_run.SubprocessTraining` implements it."""

    @property
    def stopped(self) -> bool:
        """Whether a stop signal was received. No run may start afterwards."""

    def run(self, arguments: list[str], on_line: Callable[[str], None]) -> int:
        """Runs train/main.py, calls `on_line` with each line of its output, and returns its exit status."""


class Stopped(Exception):  # noqa: N818
    """A stop signal was received during an evaluation."""


def run_all(request: Request, plan: Plan, notes: dict[str, str], training: Training) -> None:
    """Runs all runs that are not done, until a stop signal; writes the table's files after each run.

    Args:
        request: the command line.
        plan: of `request`; its runs are updated.
        notes: on rows.
        training: starts a run.
    """
    runs = _distinct(plan)
    clock = Remaining(sum(run.state != "done" for run in runs))
    for number, run in enumerate(runs, 1):
        if training.stopped:
            return
        if run.state != "done":
            place = f"{number}/{len(runs)} {run.recipe.name}"
            _say(f"[{place}] starts")
            _run(run, training, lambda line, place=place: _say(f"[{place}{clock.read(line)}] {line}"))  # type: ignore[misc]
            clock.finished()
            said = run.error if run.state != "done" else f"mIoU {run.scores['miou_percent']:.2f}"
            _say(f"[{place}] {run.state}: {said}")
            write_files(request, plan, notes)


def _run(run: Run, training: Training, on_line: Callable[[str], None]) -> None:
    """Trains one run, from its last checkpoint if it has one, and evaluates it."""
    last: deque[str] = deque(["no output"], maxlen=1)

    def keep_last(line: str) -> None:
        if line.strip():
            last.append(line)
        on_line(line)

    def stop_if_told(done: int, of: int) -> None:
        if training.stopped:
            raise Stopped

    status = training.run([*run.arguments, *(["--resume"] if run.to_resume else [])], keep_last)
    if training.stopped:
        run.error = "interrupted"
        return
    try:
        if status != 0:
            raise ValueError(f"exit status {status}: {last[0]}")
        run.keep(score(run.folder / "last.pt", run.recipe, progress=stop_if_told))
    except Stopped:
        run.error = "interrupted in its evaluation"
    except Exception as error:  # for example out of memory: the other runs continue
        run.state, run.error = "failed", str(error) or type(error).__name__


class Remaining:
    """Time left, from the mean time of a run.

    Args:
        runs: number of runs to do.
        now: clock in seconds, from any origin.
    """

    def __init__(self, runs: int, now: Callable[[], float] = time.monotonic) -> None:
        self._runs, self._now, self._start = runs, now, now()
        self._done, self._share = 0, 0.0

    def read(self, line: str) -> str:
        """Returns the time left for all runs as " ETA H:MM:SS"; empty while unknown. `line` is of the current run."""
        found = re.search(r"\biteration (\d+)/(\d+)\b", line)
        if found:
            self._share = int(found[1]) / max(int(found[2]), 1)
        done = self._done + self._share
        if not done:
            return ""
        left = round((self._now() - self._start) * (self._runs - done) / done)
        return f" ETA {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"

    def finished(self) -> None:
        """Counts the current run as ended."""
        self._done, self._share = self._done + 1, 0.0


def write_files(request: Request, plan: Plan, notes: dict[str, str]) -> str:
    """Writes OUTPUT/TABLE.json and OUTPUT/TABLE.md atomically; returns the Markdown."""
    kinds = sorted({run.recipe.dataset for of_row in plan.values() for run in of_row})
    how = {
        "bases": [request.base] if request.base else list(dict.fromkeys(row.base for row in request.rows if row.base)),
        "data": " and ".join(kinds) or "nothing",
        "seeds": list(range(request.seeds)),
        "options": list(request.options) + ([] if request.flownet2 is None else ["--flownet2", str(request.flownet2)]),
        "commit": code_commit(),
        "notes": notes,
    }
    outcomes = {name: [run.outcome() for run in of_row] for name, of_row in plan.items()}
    summary = summarise(request.name, request.table, request.rows, outcomes, how)
    text = markdown(summary)
    for suffix, content in (("json", json.dumps(summary, indent=2) + "\n"), ("md", text)):
        with atomic_write(request.output / f"{request.name}.{suffix}") as path:
            path.write_text(content)
    return text


def list_commands(request: Request, plan: Plan, notes: dict[str, str]) -> None:
    """Prints each row's runs as commands for a shell, with their state."""
    launcher = "python" if request.accelerate is None else f"accelerate launch {request.accelerate}".strip()
    seen: set[str] = set()
    for row in request.rows:
        _say(f"# {row.name}: {' | '.join(filter(None, row.cells)) or 'no mark'}")
        if not plan[row.name]:
            _say(f"#   {notes[row.name]}")
        for run in plan[row.name]:
            also = ", the same as above" if run.recipe.name in seen else ""
            resume = " --resume" if run.to_resume else ""
            command = f"{launcher} train/main.py {shlex.join(run.arguments)}{resume}"
            _say(f"{'# ' if also or run.state == 'done' else ''}{command}  # {run.state}{also}")
            seen.add(run.recipe.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status (0, 1 if a run failed, 75 after a stop signal)."""
    request = read_request(list(sys.argv[1:] if arguments is None else arguments))
    plan, notes = make_plan(request)
    if request.dry_run:
        list_commands(request, plan, notes)
        return 0
    with SubprocessTraining(request.accelerate) as training:
        run_all(request, plan, notes, training)
    _say("\n" + write_files(request, plan, notes))
    if training.stopped:
        print(f"{PROGRAM}: stopped; the same command continues", file=sys.stderr)  # noqa: T201
        return EXIT_INTERRUPTED
    return 0 if all(run.state == "done" for run in _distinct(plan)) else 1


def _distinct(plan: Plan) -> list[Run]:
    return list({id(run): run for of_row in plan.values() for run in of_row}.values())


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
