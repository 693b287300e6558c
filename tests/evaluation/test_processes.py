"""Several processes give the same results as one, bit for bit: shares, the frames before each share, and launches."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dwnet.cli.main import main
from dwnet.core.launch import ALONE, Processes, available_cpus, threads
from dwnet.data import CAMVID_11, CITYSCAPES_19, PairDataset, camvid, open_data
from dwnet.data.frames import LabelledFrame
from dwnet.evaluation import counts as counts_module
from dwnet.evaluation import measure
from dwnet.evaluation.measure import Counts, Evaluation, EvaluationSettings, count_share, evaluate
from dwnet.evaluation.predictors import Predictor, SmoothedPredictor, load_predictor, method_predictor
from dwnet.evaluation.processes import positions, share
from dwnet.method.specs import from_dict
from tests.exported import metadata, write_keyframe, write_segmenter, write_static_warp
from tests.references import TinySegmenter

REPOSITORY = Path(__file__).parents[2]
HEIGHT, WIDTH = 32, 48
# Eight frames of a sequence, three more after a gap, and one frame of another sequence.
NUMBERS = [*range(7959, 7975, 2), 8001, 8003, 8005]
NAMES = [*(f"0016E5_{number:05d}" for number in NUMBERS), "Seq05VD_f08003"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CamVid with moving, noisy pictures. Labels are the strongest colour of each pixel, and some are void."""
    root = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    texture = cv2.resize(small, (2 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for index, name in enumerate(NAMES):
        frame = np.roll(texture, 2 * index, axis=1)[:, :WIDTH].astype(int)
        frame = (frame + rng.integers(-40, 40, frame.shape)).clip(0, 255).astype(np.uint8)
        labels = frame.argmax(axis=2).astype(np.uint8)
        labels[: index + 1, :5] = 11  # void
        for part, array in (("images", frame[..., ::-1]), ("labels", labels)):
            path = root / "val" / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), array)
    return root


# ------------------------------------------------------------------------------------------------------------- shares


@given(length=st.integers(0, 60), count=st.integers(1, 20))
def test_shares_are_runs_that_cover_every_frame_once(length: int, count: int) -> None:
    shares = [share(length, Processes(rank, count)) for rank in range(count)]
    assert [index for one in shares for index in one] == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_where_frames_start_afresh() -> None:
    places = [("a", 1), ("a", 3), ("a", 8), ("a", 14), ("b", 15), ("b", 16), ("b", 16), ("b", 12), ("b", 13)]
    frames = [LabelledFrame("", Path(), Path(), *place) for place in places]
    assert positions(frames, 5) == [0, 1, 2, 0, 0, 1, 0, 0, 1]
    assert positions(frames, 1) == [0, 0, 0, 0, 0, 1, 0, 0, 1]
    assert positions([], 5) == []


def test_threads_are_shared_by_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert threads(ALONE) == available_cpus()
    assert threads(Processes(1, 2)) == max(1, available_cpus() // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert threads(Processes(1, 2)) == available_cpus()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "10000")
    assert threads(Processes(1, 10000)) == 1


# ----------------------------------------------------------------------------------------- what a process runs before


def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """An artificial flow that is different for any two frames."""
    difference = frame.astype(np.float32).mean(axis=2) - neighbour.astype(np.float32).mean(axis=2)
    return np.stack((difference / 20, -difference / 30)).astype(np.float32)


def predictors(folder: Path) -> dict[str, Predictor | None]:
    torch.manual_seed(3)
    methods = {
        f"{name} {interval}": method_predictor(
            from_dict({"name": name, "key_interval": interval}).build(TinySegmenter(num_classes=11))
        )
        for name, interval in (("baseline", 5), ("static_warp", 5), ("keyframe", 3), ("keyframe", 1), ("keyframe", 50))
    }
    exported = {
        path.stem: load_predictor(path, threads=1)[0]
        for path in (
            write_segmenter(folder / "exported.onnx"),
            write_static_warp(folder / "exported static.onnx"),
            write_keyframe(folder / "exported key.onnx", key_interval=4),
        )
    }
    smoothed = {
        f"smoothed {name}": SmoothedPredictor(load_predictor(folder / f"{name}.onnx", threads=1)[0], 0.9, flow)
        for name in ("exported", "exported static")
    }
    return {"truth": None} | methods | exported | smoothed


@dataclass
class Watched:
    """A predictor that counts its calls."""

    predictor: Predictor
    asked: int = 0

    @property
    def reference(self) -> np.ndarray | None:
        return self.predictor.reference

    def reset(self) -> None:
        self.predictor.reset()

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:
        self.asked += 1
        return self.predictor.labels(image, flow_px)

    def warmup_frames(self, index: int) -> int:
        return self.predictor.warmup_frames(index)

    def memory(self, position: int) -> int:
        return self.predictor.memory(position)


class WithVideo(PairDataset):
    """A data set with two raw frames before each labelled frame, fewer than some methods use."""

    def warmup_frames(self, index: int, most: int) -> list[np.ndarray]:
        rng = np.random.default_rng(index)
        before = [rng.integers(0, 256, self.source.read(self.frames[index])[0].shape, np.uint8) for _ in range(2)]
        return before[max(0, 2 - most) :]


@pytest.mark.parametrize("data_set", [PairDataset, WithVideo])
def test_any_number_of_shares_adds_up_to_one(root: Path, tmp_path: Path, data_set: type[PairDataset]) -> None:
    """Labels, confusion matrices and transitions of every method and export, one rank after another."""
    data = data_set(camvid.scan(root, "val"))
    settings = EvaluationSettings(flow, second_flow=lambda frame, neighbour: -flow(frame, neighbour))
    for name, predictor in predictors(tmp_path).items():
        whole: dict[int, np.ndarray] = {}
        expected = Counts(11)
        count_share(predictor, data, expected, settings, on_labels=whole.__setitem__)
        assert sorted(whole) == list(range(12))
        assert expected.flicker.frames == 9
        for count in (2, 3, 5, 15):
            labels: dict[int, np.ndarray] = {}
            total = {key: np.zeros_like(array) for key, array in expected.state().items()}
            for rank in range(count):
                counts, one = Counts(11), replace(settings, processes=Processes(rank, count))
                watched = None if predictor is None else Watched(predictor)
                before = len(labels)
                count_share(watched, data, counts, one, on_labels=labels.__setitem__)
                for key, array in counts.state().items():
                    total[key] += array
                if (
                    watched is not None and data_set is PairDataset
                ):  # a share runs only the frames that the labels of the previous frame need
                    needs = {"baseline": 1, "exported": 1, "static_warp": 2, "exported static": 2, "exported key": 4}
                    key = name if name.startswith("exported") else name.split()[0]
                    limit = needs.get(key, min(int(name.split()[-1]), 7) if key == "keyframe" else 7)
                    limit += 6  # the windows of VC8 in the run of eight frames need 7 frames instead of 1
                    assert watched.asked - (len(labels) - before) <= limit, (name, count, rank)
            assert sorted(labels) == list(range(12)), (name, count)
            assert all(np.array_equal(labels[index], whole[index]) for index in whole), (name, count)
            assert total["frames"] == total["second_frames"] == 9
            assert total["vc_windows"].tolist() == [1, 0]  # the run of eight frames
            for key, array in expected.state().items():
                assert np.array_equal(total[key], array), (name, count, key)


def test_windows_across_shares_are_counted_once(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short windows, of which many begin in one share and end in the next."""
    for module in (counts_module, measure):
        monkeypatch.setattr(module, "WINDOWS", (2, 5))
    data = open_data("camvid", root, "val")
    for name in ("truth", "static_warp 5", "smoothed exported"):
        predictor = predictors(tmp_path)[name]
        expected = Counts(11)
        count_share(predictor, data, expected, EvaluationSettings(flow))
        assert expected.state()["vc_windows"].tolist() == [7 + 2, 4]
        for count in (3, 5):
            total = {key: np.zeros_like(array) for key, array in expected.state().items()}
            for rank in range(count):
                counts = Counts(11)
                count_share(predictor, data, counts, EvaluationSettings(flow, processes=Processes(rank, count)))
                for key, array in counts.state().items():
                    total[key] += array
            for key, array in expected.state().items():
                assert np.array_equal(total[key], array), (name, count, key)


def test_without_what_lies_before_the_labels_would_differ(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the earlier frames the results differ, so the test above can fail."""
    monkeypatch.setattr(measure, "WINDOWS", (2,))  # longer windows would run the earlier frames anyway
    data = open_data("camvid", root, "val")

    class Forgetful(Watched):
        def memory(self, position: int) -> int:
            return 0

    for name, predictor in predictors(tmp_path).items():
        if predictor is None or predictor.memory(7) == 0:
            continue
        whole: dict[int, np.ndarray] = {}
        labels: dict[int, np.ndarray] = {}
        expected = Counts(11)
        count_share(predictor, data, expected, EvaluationSettings(flow), on_labels=whole.__setitem__)
        transitions = np.zeros((2, 11, 11), int)
        for rank in range(5):
            counts, settings = Counts(11), EvaluationSettings(flow, processes=Processes(rank, 5))
            count_share(Forgetful(predictor), data, counts, settings, on_labels=labels.__setitem__)
            transitions += counts.flicker.transitions
        assert not np.array_equal(transitions, expected.flicker.transitions), name


def test_an_evaluation_inside_a_distributed_run_is_this_processes_own(root: Path) -> None:
    """In a training run one process evaluates while all are joined. The evaluation does not wait for the others."""
    data = open_data("camvid", root, "val")
    alone = evaluate("truth", None, data, EvaluationSettings(flow))
    assert isinstance(alone, Evaluation)
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert evaluate("truth", None, data, EvaluationSettings(flow)) == alone
    finally:
        torch.distributed.destroy_process_group()


# ----------------------------------------------------------------------------------------------------------- launches


def as_camvid(path: Path) -> Path:
    """Extends a tiny network of three classes to CamVid's eleven. The eight added classes are never predicted."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    meta = json.loads(next(entry.value for entry in model.metadata_props if entry.key == "dwnet"))
    palette = [list(colour) for colour in CAMVID_11.palette]
    meta |= {"classes": list(CAMVID_11.classes), "palette": palette}
    outputs = [output for output in model.graph.output if output.name in ("logits", "key_logits")]
    for output in outputs:
        name = output.name
        for node in model.graph.node:
            node.output[:] = [f"{name}3" if one == name else one for one in node.output]
        weight = np.zeros((11, 3, 1, 1), np.float32)
        weight[:3, :, 0, 0] = np.eye(3)
        bias = np.full(11, -100, np.float32)
        bias[:3] = 0
        parts = [numpy_helper.from_array(weight, f"{name}_w"), numpy_helper.from_array(bias, f"{name}_b")]
        model.graph.initializer.extend(parts)
        model.graph.node.append(helper.make_node("Conv", [f"{name}3", f"{name}_w", f"{name}_b"], [name]))
        output.type.tensor_type.shape.dim[1].dim_value = 11
    helper.set_model_props(model, {"dwnet": json.dumps(meta)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def launched(command: list[str], home: Path) -> str:
    """Runs a command; returns its stdout."""
    environment = {
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(home),
    }
    run = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def accelerate(count: int) -> list[str]:
    # Its own --cpu starts one process only, or needs MPI.
    options = ["--multi_gpu", "--num_processes", str(count), "--num_machines", "1", "--mixed_precision", "no"]
    return ["accelerate.commands.launch", *options, "--dynamo_backend", "no", "--main_process_port", "0"]


def torchrun(count: int) -> list[str]:
    return ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]


def test_a_launch_prints_and_writes_what_one_process_does(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """All numbers of all models along DIS flow are equal. The JSON files differ only in the number of processes."""
    models = [
        as_camvid(write_segmenter(tmp_path / "frame.onnx")),
        as_camvid(write_static_warp(tmp_path / "static.onnx")),
        as_camvid(write_keyframe(tmp_path / "key.onnx", key_interval=3)),
    ]
    arguments = [*map(str, models), "--root", str(root), "--ground-truth", "--output"]
    command = [*accelerate(2), "-m", "dwnet", "evaluate", *arguments, str(tmp_path / "many.json")]
    printed = launched(command, tmp_path)
    assert main(["evaluate", *arguments, str(tmp_path / "one.json")]) == 0
    assert printed == capfd.readouterr().out
    one, several = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "many"))
    assert (one.pop("processes"), several.pop("processes")) == (1, 2)
    assert one["models"] == several["models"]
    assert [model["flicker"]["frames"] for model in one["models"]] == [9] * 4
    flips = [model["flicker"]["flips_percent"] for model in one["models"]]
    assert min(flips[:3]) > 0
    assert len(set(flips)) > 2, "the models are told apart"
    one.pop("device"), several.pop("device")
    assert one == several


FAILING = """
import sys
from pathlib import Path
import numpy as np
from dwnet.evaluation.processes import joined, raise_on_all_processes, sum_states
from dwnet.evaluation.server_files import server_files
from dwnet.core.launch import Processes

processes, folder = Processes.of_launcher(), Path(sys.argv[1])
with joined(processes):
    state = {"many": np.array([processes.rank, 1]), "one": np.array(0.5)}
    total = sum_states(state, processes)
    assert total["many"].tolist() == [1, 2]
    assert total["one"].tolist() == 1.0
    assert state["many"].tolist() == [processes.rank, 1]
    for name, error in ("whole", None), ("half", ValueError("frame 7 is no image")):
        try:
            with server_files(folder / name, ["a", "b"], processes) as write:
                write(processes.rank, np.zeros((4, 4), np.uint8))
                raise_on_all_processes(error if processes.rank else None, processes)
        except (ValueError, RuntimeError) as found:
            (folder / f"rank{processes.rank}.txt").write_text(f"{type(found).__name__}: {found}")
"""


@pytest.mark.slow
def test_what_fails_in_one_process_ends_all_and_leaves_nothing(tmp_path: Path) -> None:
    """Both processes of `torchrun` write into one folder. If the second fails, the first reports it and removes it."""
    script, folder = tmp_path / "run.py", tmp_path / "out"
    script.write_text(FAILING)
    folder.mkdir()
    launched([*torchrun(2), str(script), str(folder)], tmp_path)
    assert sorted(os.listdir(folder)) == ["rank0.txt", "rank1.txt", "whole"]
    assert sorted(os.listdir(folder / "whole")) == ["a_pred_labelIds.png", "b_pred_labelIds.png"]
    assert (folder / "rank0.txt").read_text() == "RuntimeError: process 1: frame 7 is no image"
    assert (folder / "rank1.txt").read_text() == "ValueError: frame 7 is no image"


def write_cityscapes_network(path: Path) -> Path:
    """Writes a per-frame network of 19 classes. Each class has a colour, and a pixel gets the nearest one."""
    import onnx
    from onnx import helper, numpy_helper

    names, palette = list(CITYSCAPES_19.classes), [list(colour) for colour in CITYSCAPES_19.palette]
    meta = metadata("segmenter", "baseline", classes=names, palette=palette)
    model = onnx.load(write_segmenter(path))
    colours = np.random.default_rng(5).random((19, 3))
    weight, bias = 2 * colours[..., None, None], -(colours**2).sum(axis=1)
    parts = [
        numpy_helper.from_array(array.astype(np.float32), name) for array, name in ((weight, "weight"), (bias, "b"))
    ]
    model.graph.initializer[0].CopyFrom(parts[0])
    model.graph.initializer.append(parts[1])
    model.graph.node[0].input.append("b")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 19
    helper.set_model_props(model, {"dwnet": json.dumps(meta)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
