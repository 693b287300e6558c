"""Writes the tables and sentences of measured results in README, MODEL_CARD and docs/ from the files of results/.

    python -m tests.docs.result_tables

A page marks a generated part with ``<!-- result: KIND SET -->`` before it and ``<!-- end of result -->`` after it. SET
is a folder of results/ with JSON documents of `dwnet evaluate --output`, for the kind `table` a file of
results/tables/, and for the kind `files` a folder of exported networks. `test_result_tables.py` compares the pages with
what this module writes.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dwnet.core.fingerprints import sha256
from dwnet.core.tables import markdown_table, number_cell

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
FORMAT = 3
"""The format of the documents of `dwnet evaluate` that is read."""

PART = re.compile(r"(^<!-- result: (?P<words>[^\n]*?) -->\n).*?(^<!-- end of result -->$)", re.DOTALL | re.MULTILINE)
WINDOWS = (8, 16)

Row = dict[str, Any]
"""The entry of one model in a document."""

SCORES: Mapping[str, Callable[[Row], float | None]] = {
    "mIoU %": lambda row: row["segmentation"]["miou_percent"],
    "pixel accuracy %": lambda row: row["segmentation"]["pixel_accuracy_percent"],
    "flips %": lambda row: _flicker(row, "flicker", "flips_percent"),
    "flips %, second flow": lambda row: _flicker(row, "second_flicker", "flips_percent"),
    "at boundaries %": lambda row: _flicker(row, "flicker", "boundary_percent"),
    "inside %": lambda row: _flicker(row, "flicker", "interior_percent"),
    "temporal consistency %": lambda row: _flicker(row, "flicker", "temporal_consistency_percent"),
    "VC8 %": lambda row: _vc(row, 8),
    "VC16 %": lambda row: _vc(row, 16),
}
"""The columns of a score table, in the order of `dwnet evaluate`."""


class ResultError(ValueError):
    """Result files that do not fit together, or a mark that names none."""


@dataclass
class ResultSet:
    """The documents of one folder: the same measurement, for one or several seeds."""

    name: str
    facts: dict[str, Any]
    """Data, inference, flow and corruptions, which all documents share."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """The entries of each model by name, one for each seed."""

    @property
    def seeds(self) -> int:
        """The largest number of seeds of a model."""
        return max(len(rows) for rows in self.rows.values())

    def values(self, name: str, score: Callable[[Row], float | None]) -> list[float]:
        """Returns a score of a model for each seed that has it."""
        found = [score(row) for row in self.rows[name]]
        return [value for value in found if value is not None]

    def mean(self, name: str, score: str) -> float:
        """Returns the mean of a score over the seeds."""
        return statistics.mean(self.values(name, SCORES[score]))

    def cell(self, name: str, score: Callable[[Row], float | None]) -> str:
        """Returns the table cell of a score: the number, or mean and deviation over several seeds."""
        values = self.values(name, score)
        if len(values) < 2:
            return number_cell(values[0] if values else None)
        return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def read_set(name: str, folder: Path = RESULTS) -> ResultSet:
    """Returns the documents of results/NAME.

    Raises:
        ResultError: for a folder without documents, a document of another format, documents of different measurements,
            or two entries of one model and seed.
    """
    files = sorted((folder / name).glob("*.json"))
    if not files:
        raise ResultError(f"{folder / name}: holds no JSON document of `dwnet evaluate --output`")
    found: ResultSet | None = None
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ResultError(f"{file}: is no document of `dwnet evaluate` of format {FORMAT}")
        facts = {key: document[key] for key in ("data", "inference", "flow", "corruptions")}
        if found is None:
            found = ResultSet(name, facts)
        elif facts != found.facts:
            raise ResultError(f"{file}: measures something else than {files[0].name} beside it")
        for row in document["models"]:
            _add(found, row, file)
    assert found is not None
    return found


def _add(found: ResultSet, row: Row, file: Path) -> None:
    name = re.sub(r"_seed\d+", "", row["name"])
    rows = found.rows.setdefault(name, [])
    if row["file"] is None and rows:  # the true labels are the same in every document
        return
    if any((one["sha256"], one["seed"]) == (row["sha256"], row["seed"]) or one["seed"] == row["seed"] for one in rows):
        raise ResultError(f"{file}: {row['name']} of seed {row['seed']} is in the set {found.name} already")
    rows.append(row)


# ------------------------------------------------------------------------------------------------------------ the parts


def scores(found: ResultSet) -> str:
    """The table of scores, a row for each model."""
    rows = [[name, *(found.cell(name, score) for score in SCORES.values())] for name in found.rows]
    return markdown_table(["model", *SCORES], rows)


def classes(found: ResultSet) -> str:
    """The IoU of each class, a column for each model."""
    rows = []
    for index, title in enumerate(found.facts["data"]["classes"]):
        rows.append([title, *(found.cell(name, lambda row, i=index: _class_iou(row, i)) for name in found.rows)])
    return markdown_table(["class IoU %", *found.rows], rows)


def corruptions(found: ResultSet) -> str:
    """mIoU without corruption, under each corruption as a mean over the severities, and the means."""
    chosen = found.facts["corruptions"]
    if chosen is None:
        raise ResultError(f"results/{found.name}: was measured without --corruptions")
    names = [name for name, rows in found.rows.items() if rows[0]["corruptions"] is not None]
    scores: dict[str, Callable[[Row], float | None]] = {"no corruption": SCORES["mIoU %"]}
    for corruption in chosen["names"]:
        scores[corruption.replace("_", " ")] = lambda row, c=corruption: _under(row, c)
    scores["mean of the corruptions"] = lambda row: row["corruptions"]["mean_miou_percent"]
    for n in WINDOWS:
        scores[f"mean VC{n} %"] = lambda row, n=n: row["corruptions"]["mean_vc_percent"][str(n)]
    rows = [[title, *(found.cell(name, score) for name in names)] for title, score in scores.items()]
    severities = ", ".join(map(str, chosen["severities"]))
    many = "severity" if len(chosen["severities"]) == 1 else "mean over the severities"
    head = f"{_data(found)}; {len(chosen['names'])} corruptions, {many} {severities}, seed {chosen['seed']}:"
    return f"{head}\n\n{markdown_table(['mIoU % under', *names], rows)}"


def settings(found: ResultSet) -> str:
    """What was measured, and how."""
    flow = found.facts["flow"]
    names = {"dis": "DIS flow (medium)", "farneback": "Farnebäck flow", "none": "none"}
    first, second = (names.get(flow[key], flow[key]) for key in ("name", "second"))
    lines = [
        f"{_data(found)}; {found.facts['inference']['text']};",
        f"flicker along {first}, {flow['pairs']} pairs at most {flow['max_gap']} raw frames apart, occlusions left "
        "out;",
        f"second flow: {second}.{_seeds(found)}",
    ]
    return "\n".join(lines)


def comparison(found: ResultSet) -> str:
    """Sentences that compare dwnet, static_warp and the smoothed baseline with the baseline."""
    lines = [_compared(found, "dwnet", "baseline")]
    others = [name for name in ("static_warp", "baseline_smoothed") if name in found.rows]
    lines += [_compared(found, name, "baseline") for name in others]
    if "ground truth" in found.rows:
        truth = found.mean("ground truth", "flips %")
        lines.append(f"The true labels flip {truth:.2f} %, which is the error of the flow and of the drawing.")
    return "\n".join(f"- {line}" for line in lines)


def origin(found: ResultSet) -> str:
    """Commit, machine and versions of the measurement, and seed and training commit of each model."""
    lines = []
    for file in sorted((RESULTS / found.name).glob("*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        machine, versions = document["machine"], document["versions"]
        lines.append(
            f"`results/{found.name}/{file.name}`: measured by commit {document['commit'][:12]} on "
            f"{machine['processor']} ({machine['cpus']} CPUs, networks of checkpoints on {document['device']}), "
            f"PyTorch {versions['torch']}, ONNX Runtime {versions['onnxruntime']}, OpenCV {versions['cv2']}."
        )
    return "\n".join(lines)


def table(name: str) -> str:
    """A table whose cells are stored as they are, results/tables/NAME.json."""
    file = RESULTS / "tables" / f"{name}.json"
    if not file.is_file():
        raise ResultError(f"{file}: there is no such table")
    stored = json.loads(file.read_text(encoding="utf-8"))
    missing = {"headings", "rows", "source"} - set(stored)
    if missing:
        raise ResultError(f"{file}: lacks {', '.join(sorted(missing))}")
    return markdown_table(stored["headings"], stored["rows"])


DESCRIPTIONS = {
    "baseline": "PSPNet with a decoder, trained on single frames",
    "static_warp": "the same with fused previous features",
    "dwnet": "the same layers as baseline, trained as DWNet",
    "flow_refinement": "the flow refinement module (FRM) of dwnet, to look at refined flow",
}


def files(folder: Path) -> str:
    """The exported networks of a folder with size and hash."""
    rows = []
    for name, description in DESCRIPTIONS.items():
        file = folder / f"{name}.onnx"
        size, digest = f"{file.stat().st_size:,}", f"`{sha256(file)}`"
        rows.append([f"`{file.relative_to(ROOT)}`", description, size, digest])
    return markdown_table(["file", "what it is", "bytes", "sha256"], rows)


PARTS: Mapping[str, Callable[[ResultSet], str]] = {
    function.__name__: function for function in (scores, classes, corruptions, settings, comparison, origin)
}
"""The kinds of generated parts of a set."""


def part(words: str) -> str:
    """Returns the content of a mark: ``KIND SET``, or ``KIND SET MODEL ...`` for some models of a set only.

    Raises:
        ResultError: for an unknown kind, or a set that cannot be read.
    """
    kind, name, *models = [*words.split(), "", ""][: max(2, len(words.split()))]
    if kind == "table":
        return table(name)
    if kind == "files":
        return files(ROOT / name)
    if kind not in PARTS or not name:
        raise ResultError(
            f"mark {words!r}: allowed are {', '.join([*PARTS, 'table', 'files'])}, each with the name of a set"
        )
    found = read_set(name)
    unknown = [model for model in models if model.replace("_", " ") not in found.rows and model not in found.rows]
    if unknown:
        raise ResultError(f"mark {words!r}: {unknown[0]} is not in the set, which has {', '.join(found.rows)}")
    if models:
        chosen = [model if model in found.rows else model.replace("_", " ") for model in models]
        found = replace(found, rows={model: found.rows[model] for model in chosen})
    return PARTS[kind](found)


def rewritten(text: str) -> str:
    """Returns a page with every generated part written anew."""
    return PART.sub(lambda found: f"{found[1]}\n{part(found['words'])}\n\n{found[3]}", text)


def pages() -> Iterator[Path]:
    """Yields every page that may have generated parts."""
    yield from (ROOT / "README.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").rglob("*.md")))


# -------------------------------------------------------------------------------------------------------------- helpers


def _flicker(row: Row, meter: str, figure: str) -> float | None:
    return None if row[meter] is None else row[meter][figure]


def _vc(row: Row, n: int) -> float | None:
    return next((one["constant_percent"] for one in row["consistency"] if one["n"] == n), None)


def _class_iou(row: Row, index: int) -> float | None:
    value: float | None = row["segmentation"]["per_class_iou_percent"][index]
    return value


def _under(row: Row, corruption: str) -> float | None:
    values = [one["miou_percent"] for one in row["corruptions"]["scores"] if one["corruption"] == corruption]
    return None if not values or None in values else statistics.mean(values)


def _data(found: ResultSet) -> str:
    data = found.facts["data"]
    title = {"camvid": "CamVid", "cityscapes": "Cityscapes", "street": "Street"}.get(data["kind"], data["kind"])
    return f"{title} {data['split']}, {data['frames']} frames, {data['layout']}"


def _seeds(found: ResultSet) -> str:
    return f" Mean ± deviation over {found.seeds} seeds." if found.seeds > 1 else ""


def _compared(found: ResultSet, name: str, other: str) -> str:
    """Returns a sentence with the differences of two models."""
    flips, before = found.mean(name, "flips %"), found.mean(other, "flips %")
    points = {score: found.mean(name, score) - found.mean(other, score) for score in ("mIoU %", "pixel accuracy %")}
    change = 100 * abs(flips - before) / before
    text = (
        f"Compared with {other}, {name} flips {change:.0f} % {'fewer' if flips < before else 'more'} labels "
        f"({flips:.2f} % instead of {before:.2f} %). It has {_signed(points['mIoU %'])} mIoU and "
        f"{_signed(points['pixel accuracy %'])} pixel accuracy"
    )
    if found.values(name, SCORES["VC16 %"]):
        text += f", and {_signed(found.mean(name, 'VC16 %') - found.mean(other, 'VC16 %'))} VC16"
    return f"{text}."


def _signed(points: float) -> str:
    return f"{abs(points):.1f} points {'more' if points >= 0 else 'less'}"


def main() -> int:
    """Rewrites every page; returns the exit status."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        try:
            after = rewritten(before)
        except ResultError as error:
            print(f"{page.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 1
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
