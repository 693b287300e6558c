"""`python -m tests.benchmarks` knows every benchmark, and turns what they print into Markdown and JSON."""

import json
import re
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as command

FOLDER = Path(__file__).parent
PRINTED = """a line

| what | median ms | ratio |
|---|---|---|
| one | 1,234.5 | 1.000 |
| two | 20 | 0.016 |

| other |
|---|
| - |
after"""


def scripts() -> set[str]:
    files = (file for file in FOLDER.glob("*.py") if not file.stem.startswith(("test_", "__")))
    return {file.stem for file in files if "__main__" in file.read_text()}


def script(folder: Path, name: str, code: str) -> None:
    (folder / "tests/benchmarks").mkdir(parents=True, exist_ok=True)
    (folder / "tests/benchmarks" / f"{name}.py").write_text(code)


def test_every_script_is_listed() -> None:
    assert scripts() == set(command.BENCHMARKS)


def test_every_command_of_the_documentation_is_a_benchmark_with_these_options() -> None:
    pages = [*(command.ROOT / "docs").rglob("*.md"), command.ROOT / "README.md", command.ROOT / "CONTRIBUTING.md"]
    quoted = {
        match[1]: (match[2] or "").split()
        for page in pages
        for match in re.finditer(r"tests/benchmarks/(\w+)\.py((?: [^\s`|)]+)*)`", page.read_text())
        if match[2]
    }
    assert quoted["training"] == ["--rounds", "2"]
    for name, options in quoted.items():
        own = command.BENCHMARKS[name].options
        assert [*own] == options or command.BENCHMARKS[name].needs or name == "gpu"
    named = {name for page in pages for name in re.findall(r"tests/benchmarks/(\w+)\.py", page.read_text())}
    assert set(command.BENCHMARKS) <= named


def test_tables_and_lines_are_parsed() -> None:
    tables, lines = command.parsed(PRINTED)
    assert tables == [
        {"columns": ["what", "median ms", "ratio"], "rows": [["one", 1234.5, 1.0], ["two", 20.0, 0.016]]},
        {"columns": ["other"], "rows": []},
    ]
    assert lines == ["a line", "after"]


@pytest.mark.slow
def test_results_of_good_and_bad_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(tmp_path, "good", f"import sys, tests.benchmarks.measure; print(sys.argv[1:]); print('''{PRINTED}''')")
    script(tmp_path, "bad", "print('before'); raise SystemExit(3)")
    script(tmp_path, "silent", "")
    script(tmp_path, "endless", "import time; time.sleep(60)")
    benchmarks = {
        "good": command.Benchmark(options=("--rounds", "2")),
        "bad": command.Benchmark(),
        "silent": command.Benchmark(),
        "endless": command.Benchmark(),
        "data": command.Benchmark(options=("{}/val",), needs="NO_SUCH_VARIABLE"),
    }
    monkeypatch.setenv("PYTHONPATH", str(command.ROOT))
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "BENCHMARKS", benchmarks)
    output = tmp_path / "results"
    run = ["--output", str(output), "--only", "good", "bad", "silent", "data"]
    assert command.main(run) == 1
    out, err = capsys.readouterr()
    assert err.endswith("failed: bad, silent\n")
    assert out.strip() == (output / "benchmarks.md").read_text().strip()
    found = json.loads((output / "benchmarks.json").read_text())
    assert found["machine"]["cores"] >= 1
    results = found["benchmarks"]
    assert results["good"]["command"] == "python tests/benchmarks/good.py --rounds 2"
    assert results["good"]["lines"][0] == "['--rounds', '2']"
    assert results["good"]["tables"][0]["rows"][1] == ["two", 20.0, 0.016]
    assert "error" not in results["good"]
    assert (results["bad"]["error"], results["bad"]["lines"]) == ("ended with 3", ["before"])
    assert results["silent"]["error"] == "printed nothing"
    assert results["data"] == {
        "command": "python tests/benchmarks/data.py /val",
        "left_out": "needs the variable NO_SUCH_VARIABLE",
    }
    assert "| two | 20 | 0.016 |" in out
    assert "Left out: needs the variable NO_SUCH_VARIABLE." in out
    assert command.run("endless", quick=False, timeout=0.5)["error"] == "ended after 0.5 s"
    assert command.main(["--only", "good"]) == 0
