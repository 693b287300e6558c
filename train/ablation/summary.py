"""Results of an ablation beside the paper's: mean and deviation over seeds, as JSON values and as Markdown."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from train.ablation.tables import Row, Table

METRICS = {
    "miou_percent": "mIoU %",
    "flips_percent": "flips %",
    "temporal_consistency_percent": "temporal consistency %",
}
"""Heading of each metric, by its name in a run's results."""

Outcome = Mapping[str, Any]
"""Outcome of one run: "name", "seed", "state" (done, failed, to do), "error" if it failed, and the METRICS if done."""


def summarise(
    name: str, table: Table, rows: Sequence[Row], outcomes: Mapping[str, Sequence[Outcome]], how: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the results of an ablation, as JSON values.

    Args:
        name: of the table.
        table: the table.
        rows: the chosen rows.
        outcomes: of each row's runs, by row name. A row that is missing has no runs.
        how: what was run: "bases", "data", "seeds", "options", "commit"; and "notes", by row.

    Returns:
        "rows" hold the paper's mIoU, and for each of `METRICS` "mean", "deviation" (sample deviation over seeds, n - 1;
        None for one run) and "runs", the number of runs that have the metric.
    """
    return {
        "table": name,
        "title": table.title,
        "columns": list(table.columns),
        "paper_measured_on": table.measured_on,
        **{key: value for key, value in how.items() if key != "notes"},
        "rows": [
            {
                "name": row.name,
                "cells": list(row.cells),
                "paper_miou_percent": row.paper_miou_percent,
                "note": how["notes"].get(row.name, ""),
                **{metric: _spread(outcomes.get(row.name, ()), metric) for metric in METRICS},
                "runs": [dict(outcome) for outcome in outcomes.get(row.name, ())],
            }
            for row in rows
        ],
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """Returns a summary of `summarise` as a Markdown table with notes."""
    paper = f"{METRICS['miou_percent']} in the paper"
    has_paper = bool(summary["paper_measured_on"])
    headings = [*summary["columns"], *([paper] if has_paper else []), *METRICS.values(), "runs"]
    seeds = summary["seeds"]
    lines = [
        f"## {summary['title']}",
        "",
        f"Ours on {summary['data']} val ({', '.join(summary['bases'])}; {len(seeds)} seed{'s' * (len(seeds) > 1)}"
        f"{_options(summary['options'])}): mean and standard deviation over seeds, of the last epoch's weights."
        + (f" The paper's on {summary['paper_measured_on']}." * has_paper),
        "",
        f"| {' | '.join(headings)} |",
        "|" + "---|" * len(headings),
    ]
    for row in summary["rows"]:
        done = sum(run["state"] == "done" for run in row["runs"])
        cells = [*row["cells"], *([_number(row["paper_miou_percent"])] if has_paper else [])]
        cells += [_cell(row[metric]) for metric in METRICS]
        cells.append(f"{done} of {len(row['runs'])}" if row["runs"] else "-")
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {row['name']}: {row['note']}" for row in summary["rows"] if row["note"]]
    failed = {run["name"]: run["error"] for row in summary["rows"] for run in row["runs"] if run["state"] == "failed"}
    notes += [f"- {name} failed: {error}" for name, error in failed.items()]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _spread(outcomes: Sequence[Outcome], metric: str) -> dict[str, Any]:
    values = [outcome[metric] for outcome in outcomes if outcome.get(metric) is not None]
    return {
        "mean": fmean(values) if values else None,
        "deviation": stdev(values) if len(values) > 1 else None,
        "runs": len(values),
    }


def _cell(spread: Mapping[str, Any]) -> str:
    if spread["mean"] is None:
        return "-"
    return _number(spread["mean"]) + ("" if spread["deviation"] is None else f" ± {spread['deviation']:.2f}")


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def _options(options: Sequence[str]) -> str:
    return f"; {' '.join(options)}" if options else ""
