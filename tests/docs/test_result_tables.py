"""The tables of measured results are those that the files of results/ give."""

import copy
import json
import re
from pathlib import Path

import pytest

from tests.docs import result_tables
from tests.docs.result_tables import (
    PART,
    RESULTS,
    ROOT,
    ResultError,
    classes,
    comparison,
    corruptions,
    pages,
    part,
    read_set,
    rewritten,
    scores,
)

MARKED = {page: page.read_text() for page in pages() if "<!-- result:" in page.read_text()}


def test_some_pages_have_results() -> None:
    assert {ROOT / "README.md", ROOT / "MODEL_CARD.md"} <= set(MARKED)


@pytest.mark.parametrize("page", MARKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_hold_what_the_results_give(page: Path) -> None:
    text = MARKED[page]
    assert text.count("<!-- result:") == text.count("<!-- end of result -->") == len(PART.findall(text))
    assert rewritten(text) == text, "run python -m tests.docs.result_tables"


def test_every_file_of_results_is_used_and_small() -> None:
    files = [file for file in RESULTS.rglob("*") if file.is_file() and file.name != "README.md"]
    assert files
    words = {match["words"] for text in MARKED.values() for match in PART.finditer(text)}
    sets = {word.split()[1] for word in words}
    for file in files:
        name = file.stem if file.parent.name == "tables" else str(file.parent.relative_to(RESULTS))
        assert file.suffix == ".json"
        assert name in sets, f"no page shows {file.relative_to(ROOT)}"
        assert file.stat().st_size < 500_000
    assert sum(file.stat().st_size for file in files) < 2_000_000


def test_every_result_says_where_it_comes_from() -> None:
    for file in RESULTS.rglob("*.json"):
        stored = json.loads(file.read_text())
        if file.parent.name == "tables":
            assert {"command", "commit", "seeds", "machine"} <= set(stored["source"]), file.name
            assert re.fullmatch(r"[0-9a-f]{40}", stored["source"]["commit"])
            continue
        assert re.fullmatch(r"[0-9a-f]{40}", stored["commit"]), f"{file.name} was not measured on a clean commit"
        assert stored["machine"]["processor"]
        for model in stored["models"]:
            if model["file"] is not None:
                assert re.fullmatch(r"[0-9a-f]{64}", model["sha256"])
                assert model["recipe"]["name"]
                assert isinstance(model["seed"], int)
                assert model["trained_by"]
                assert not Path(model["file"]).is_absolute()


@pytest.fixture
def document() -> dict:  # type: ignore[type-arg]
    """A document of two models, with round figures."""

    def model(name: str, miou: float, flips: float, seed: int) -> dict:  # type: ignore[type-arg]
        flicker = {
            "flips_percent": flips,
            "boundary_percent": 10.0,
            "interior_percent": 1.0,
            "temporal_consistency_percent": 80.0,
        }
        segmentation = {
            "miou_percent": miou,
            "pixel_accuracy_percent": 90.0,
            "per_class_iou_percent": [miou - 10, miou + 10],
        }
        at = [{"corruption": "fog", "severity": s, "miou_percent": miou - 10 * s} for s in (1, 2)]
        under = {"mean_miou_percent": miou - 15, "mean_vc_percent": {"8": 70.0, "16": None}, "scores": at}
        consistency = [{"n": 16, "constant_percent": 90.0 + seed, "correct_percent": 80.0, "windows": 3}]
        return {
            "name": name,
            "file": f"{name}.onnx",
            "sha256": f"{name}{seed}",
            "seed": seed,
            "segmentation": segmentation,
            "flicker": flicker,
            "second_flicker": None,
            "consistency": consistency,
            "corruptions": under,
        }

    return {
        "format": 3,
        "data": {"kind": "camvid", "split": "val", "frames": 5, "layout": "a layout", "classes": ["Sky", "Road"]},
        "inference": {"text": "whole images"},
        "flow": {"name": "dis", "second": "none", "pairs": 4, "max_gap": 5},
        "corruptions": {"names": ["fog"], "severities": [1, 2], "seed": 0},
        "models": [model("baseline", 60.0, 4.0, 0), model("dwnet", 61.0, 3.0, 0)],
    }


def write(folder: Path, name: str, content: dict) -> None:  # type: ignore[type-arg]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def later_seed(document: dict, miou: float) -> dict:  # type: ignore[type-arg]
    """Returns the document of seed 1, with names as several seeds in one command have them."""
    other = copy.deepcopy(document)
    for one in other["models"]:
        one |= {"name": f"{one['name']}_seed1", "sha256": f"{one['name']}1", "seed": 1}
        one["segmentation"]["miou_percent"] = miou
    return other


def test_one_seed_gives_numbers_and_several_give_deviations(document: dict, tmp_path: Path) -> None:  # type: ignore[type-arg]
    write(tmp_path / "set", "a.json", document)
    one = read_set("set", tmp_path)
    assert "| dwnet | 61.00 | 90.00 | 3.00 | - | 10.00 | 1.00 | 80.00 | - | 90.00 |" in scores(one)
    assert "| Road | 70.00 | 71.00 |" in classes(one)
    table = corruptions(one)
    assert "CamVid val, 5 frames, a layout; 1 corruptions, mean over the severities 1, 2, seed 0:" in table
    for row in ("no corruption | 60.00 | 61.00", "fog | 45.00 | 46.00", "mean VC8 % | 70.00 | 70.00"):
        assert f"| {row} |" in table
    assert comparison(one) == (
        "- Compared with baseline, dwnet flips 25 % fewer labels (3.00 % instead of 4.00 %). It has 1.0 points more "
        "mIoU and 0.0 points more pixel accuracy, and 0.0 points more VC16."
    )
    write(tmp_path / "set", "b.json", later_seed(document, 63.0))
    both = read_set("set", tmp_path)
    assert list(both.rows) == ["baseline", "dwnet"]
    assert both.seeds == 2
    # The mean of 60 and 63, and of 61 and 63, with their deviations by n - 1.
    assert "| baseline | 61.50 ± 2.12 |" in scores(both)
    assert "| dwnet | 62.00 ± 1.41 |" in scores(both)
    assert "0.5 points more mIoU" in comparison(both)


def test_files_that_do_not_fit_are_refused(document: dict, tmp_path: Path) -> None:  # type: ignore[type-arg]
    with pytest.raises(ResultError, match="holds no JSON document of `dwnet evaluate --output`"):
        read_set("set", tmp_path)
    write(tmp_path / "set", "a.json", document)
    write(tmp_path / "set", "b.json", document)
    with pytest.raises(ResultError, match=r"b\.json: baseline of seed 0 is in the set set already"):
        read_set("set", tmp_path)
    write(tmp_path / "set", "b.json", {**later_seed(document, 1.0), "flow": {"name": "dis"}})
    with pytest.raises(ResultError, match=r"b\.json: measures something else than a\.json beside it"):
        read_set("set", tmp_path)
    write(tmp_path / "set", "b.json", {"format": 2})
    with pytest.raises(ResultError, match=r"b\.json: is no document of `dwnet evaluate` of format 3"):
        read_set("set", tmp_path)
    write(tmp_path / "set", "b.json", later_seed(document, 1.0) | {"corruptions": None})
    (tmp_path / "set" / "a.json").unlink()
    with pytest.raises(ResultError, match="was measured without --corruptions"):
        corruptions(read_set("set", tmp_path))


def test_marks_that_name_nothing_are_refused() -> None:
    with pytest.raises(ResultError, match="mark 'plot x': allowed are scores, classes, "):
        part("plot x")
    with pytest.raises(ResultError, match="there is no such table"):
        part("table nothing")
    with pytest.raises(ResultError, match="mark 'scores camvid_val else': else is not in the set, which has baseline"):
        part("scores camvid_val else")


def test_a_mark_may_choose_models() -> None:
    lines = part("scores camvid_val dwnet ground_truth").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| dwnet", "| ground truth"]


def test_a_page_is_rewritten_between_its_marks_only(
    document: dict,  # type: ignore[type-arg]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / "set", "a.json", document)
    monkeypatch.setattr(result_tables, "read_set", lambda name: read_set(name, tmp_path))
    text = "before\n\n<!-- result: classes set -->\nold\n<!-- end of result -->\n\nafter 1.00\n"
    found = rewritten(text)
    assert found.startswith("before\n\n<!-- result: classes set -->\n\n| class IoU % | baseline | dwnet |\n")
    assert found.endswith("|\n\n<!-- end of result -->\n\nafter 1.00\n")
    assert "old" not in found
    assert rewritten(found) == found
