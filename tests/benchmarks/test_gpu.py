"""gpu.py runs with what a bare GPU machine has, reports failures beside results, and measures the same training."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dwnet.segmentation import NetworkSpec
from tests.benchmarks import gpu
from tests.benchmarks.gpu_sections import Setting, compared, pairs
from tests.benchmarks.gpu_step import PlainStep, Step, flops, new_method, random_batch
from tests.benchmarks.measure import peak_tflops_of

CPU = torch.device("cpu")
TINY = NetworkSpec(backbone="test_efficientnet", channels=16)
NOT_THERE = ("gradio", "av", "decord", "tyro", "pydantic", "onnxruntime", "transformers", "segmentation_models_pytorch")


def quick(*options: str, timeout: float = 300) -> tuple[int, dict[str, Any], str]:
    """Runs gpu.py --quick without the packages that a GPU machine lacks; returns status, JSON and progress lines."""
    script = Path(__file__).with_name("gpu.py")
    without = f"import sys, runpy; sys.modules.update(dict.fromkeys({NOT_THERE!r})); sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", f"{without}runpy.run_path(sys.argv[0], run_name='__main__')", str(script)]
    ran = subprocess.run(
        [*command, "--quick", "--rounds", "1", *options], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert ran.stdout, ran.stderr[-3000:]
    return ran.returncode, json.loads(ran.stdout), ran.stderr


@pytest.mark.slow
def test_light_sections_without_the_packages_of_the_page(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    status, found, progress = quick("--sections", "ceilings,feature_loss", "--output", str(file))
    assert status == 0
    assert json.loads(file.read_text()) == found
    assert found["machine"]["torch"] == torch.__version__
    assert found["ceilings"]["bf16_tflops_measured"] > 0
    assert found["feature_loss"]["N x N maps"]["ratio"] == 1
    assert found["feature_loss"]["feature_consistency"]["median_ms"] > 0
    assert "s] feature_loss ..." in progress


@pytest.mark.slow
def test_all_sections() -> None:
    status, found, _ = quick("--time-limit", "900", timeout=1000)
    assert status == 0
    assert list(gpu.SECTIONS) == [name for name in found if name in gpu.SECTIONS]
    for name in ("single_frames", "pairs"):
        plain, ours = found[name]["plain loop, float32"], found[name]["ours, bf16, eager"]
        assert plain["ratio"] == 1
        assert ours["images_per_s"] == pytest.approx(2000 / ours["median_ms"], rel=1e-3)
        assert found[f"{name}_compiled"]["tflop_per_step"] == found[name]["tflop_per_step"]
    assert found["precisions"]["float32"]["relative_to_float32"] == 0
    assert abs(found["precisions"]["bf16"]["relative_to_float32"]) < 0.3


def test_a_section_that_fails_or_hangs_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Setting) -> dict[str, Any]:
        raise RuntimeError("out of\nmemory")

    def hangs(_: Setting) -> dict[str, Any]:
        time.sleep(30)
        return {}

    sections = {"first": (lambda _: {"value": 1}, 0), "fails": (fails, 0), "long": (fails, 1000), "hangs": (hangs, 0)}
    monkeypatch.setattr(gpu, "SECTIONS", sections)
    setting = Setting(device=CPU, quick=False, rounds=1, notes=lambda _: None)
    saved: list[list[str]] = []
    found = gpu.run(
        list(sections),
        setting,
        time_limit=1.5,
        begun=time.monotonic(),
        save=lambda results: saved.append(list(results)),
    )
    assert found["first"]["value"] == 1
    assert found["fails"]["error"] == "RuntimeError: out of memory"
    assert found["long"]["error"].startswith("left out: takes about 1000 s")
    assert found["hangs"]["error"].startswith("OutOfTime")
    assert saved[0] == ["machine", "first"]


def test_a_variant_that_fails_is_left_out_of_the_comparison() -> None:
    def fails() -> None:
        raise MemoryError("full")

    found = compared({"fails": fails, "runs": lambda: None}, Setting(CPU, True, 1, lambda _: None))
    assert found["fails"] == {"error": "MemoryError: full"}
    assert found["runs"]["ratio"] == 1


@pytest.mark.slow
def test_a_plain_loop_without_memory_for_the_batch_is_measured_on_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PlainStep.__call__

    def small(step: PlainStep, batch: dict[str, Any]) -> torch.Tensor:
        if len(batch["frame"]) > 1 and not step.bf16:
            raise torch.OutOfMemoryError("full")
        return original(step, batch)

    monkeypatch.setattr(PlainStep, "__call__", small)
    # Batch norm of one image has no statistics in the pyramid's bin of 1 x 1: the half fails, too, and loses no row.
    found = pairs(Setting(CPU, True, 1, lambda _: None))
    assert found["plain loop, float32"] == {"error": "OutOfMemoryError: full"}
    assert found["plain loop, float32, batch 1"]["error"].startswith("ValueError: Expected more than 1 value")
    for name in ("plain loop, bf16 autocast", "ours, bf16, eager"):
        row = found[name]
        assert row["images_per_s"] == pytest.approx(2000 / row["median_ms"], rel=1e-3)
        assert row["tflops"] == pytest.approx(1000 * found["tflop_per_step"] / row["median_ms"], rel=2e-3)


@pytest.mark.parametrize("method", ["baseline", "dwnet"])
def test_the_plain_step_and_ours_have_the_same_loss(method: str) -> None:
    batch = random_batch(2, 64, CPU)
    plain, ours = PlainStep(new_method(method, TINY, CPU), CPU), Step(new_method(method, TINY, CPU), "no")
    for module in (*plain.method.modules(), *ours.method.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # the plain loop's statistics are of one frame of the pair, ours of both
    assert ours(batch).item() == pytest.approx(plain(batch).item(), rel=1e-4)


def test_flops_of_a_product_and_its_backward() -> None:
    left, right = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    assert flops(lambda: (left @ right).sum().backward()) == 3 * 2 * 3 * 5 * 7


def test_peaks_by_the_name_of_the_card() -> None:
    assert peak_tflops_of("NVIDIA H100 80GB HBM3") == 989
    assert peak_tflops_of("NVIDIA H100 PCIe") == 756
    assert peak_tflops_of("another") is None
