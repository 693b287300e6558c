"""`dwnet flicker`."""

import sys
from pathlib import Path

import tyro

from dwnet.cli.options import DeviceName, RuntimeName, limit_clips, use_runtime
from dwnet.core.class_files import read_class_file
from dwnet.core.errors import DWNetError
from dwnet.core.progress import Progress
from dwnet.flicker.api import FlickerReport, measure_flicker, report_of
from dwnet.flicker.corpus import read_corpus
from dwnet.flicker.predictions import own_name
from dwnet.flicker.run import measure_corpus
from dwnet.flicker.settings import Settings, default_second_flow


def flicker(
    clip: tyro.conf.Positional[Path | None] = None,
    predictions: tyro.conf.Positional[tuple[str, ...]] = (),
    /,
    corpus: Path | None = None,
    truth: Path | None = None,
    output: Path = Path("flicker"),
    flow: str = "dis",
    flow_weights: str = "published",
    second_flow: str | None = None,
    second_every: int = 30,
    classes: Path | None = None,
    ignore: tyro.conf.UseAppendAction[tuple[int, ...]] = (),
    max_side: int | None = None,
    fps: float = 25.0,
    published: bool = False,
    smooth: tuple[str, ...] = (),
    threshold: float | None = None,
    truth_classes: Path | None = None,
    player_mb: int = 200,
    max_pixels: int | None = None,
    max_memory_mb: int | None = None,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
) -> None:
    """Measure how much predictions flicker, and write a table, JSON, a CSV row per frame and one HTML page.

    Predictions are a folder of label images or of .npy files, a losslessly coded indexed video, an .npy or .npz of ids
    or scores, or an exported network (.onnx) to run. `--corpus` measures many clips, also under `accelerate launch` or
    `torchrun`.

    Args:
        clip: a video file, or a folder of frames.
        predictions: one or more sets, each PATH or NAME=PATH.
        corpus: a JSON list of clips, or a folder with clips/ and predictions/NAME/; replaces CLIP and PREDICTIONS.
        truth: true labels of the clip, in the same formats as label predictions; a folder may have labels for some
            frames only, which are matched by name or, for a video, by frame number from 0.
        output: folder for the files. The records of a corpus are in its clips/; a second run continues from them.
        flow: dis, dis_fast (faster, less accurate at edges), farneback (slower, independent of dis), raft_small,
            raft_large, flownet2, or a folder of exact flow.
        flow_weights: weights of a flow network: published, or a file.
        second_flow: another flow, which shows how much the result depends on the flow; default: dis_fast, or dis if
            the flow is dis_fast.
        second_every: measure the second flow on every n-th pair of frames.
        classes: a file with names, ids and colours of the classes, or cityscapes, cityscapes-trainids or camvid;
            default: those of a network, or generated ones. Label maps hold the ids of the file.
        ignore: a further id for unknown pixels in label maps; may be given several times. 255 means unknown, unless
            the classes file gives it to a class.
        max_side: longer side of the reduced frames, in pixels; label maps must have the reduced size.
        fps: frames per second of a folder of frames.
        published: also measure temporal consistency exactly as the scripts of ETC and VSPW do, to compare with papers.
        smooth: also measure these exported networks with their class probabilities averaged along the flow at run
            time, each NAME or NAME=KEEP; KEEP is the weight of the past, 0 to below 1, default 0.5.
        threshold: scores of one class above this value are label 1; default: 0.5 for probabilities, 0 for logits.
        truth_classes: a classes file with the ids of the truth, if they are not those of --classes.
        max_pixels: largest number of pixels of a frame of a clip; default: 40 million, which allows 8192 x 4320.
        max_memory_mb: largest memory in MiB for decoding a clip, estimated from its header; default: 4096.
        player_mb: largest size of the frames that the player stores, in MB, of all clips together; a longer clip is
            stored at a lower rate, except around the worst moments. 0: no player.
        runtime: runtime of the networks: onnxruntime, openvino (extra openvino), or auto, the fastest installed one.
        device: device of the networks: cpu; cuda, tensorrt, coreml or directml, if the build of ONNX Runtime has them;
            gpu (OpenVINO); or auto.
    """
    limit_clips(max_pixels, max_memory_mb)
    use_runtime(runtime, device)
    if (corpus is None) == (clip is None) or (corpus is not None and (predictions or truth)):
        raise DWNetError("give a CLIP and its PREDICTIONS, or --corpus alone (a corpus names its predictions)")
    if clip is not None:
        progress = Progress(own_name(clip))
        report = measure_flicker(
            clip,
            predictions,
            truth=truth,
            flow=flow,
            classes=classes,
            ignore=ignore,
            max_side=max_side,
            fps=fps,
            output=output,
            flow_weights=flow_weights,
            second_flow=second_flow,
            second_every=second_every,
            published=published,
            smooth=smooth,
            threshold=threshold,
            truth_classes=truth_classes,
            player_mb=player_mb,
            progress=progress,
        )
        progress.close()
        _print(report)
        return
    assert corpus is not None
    settings = Settings(
        flow=flow,
        flow_weights=flow_weights,
        second_flow=second_flow or default_second_flow(flow),
        second_every=second_every,
        ignore=ignore,
        max_side=max_side,
        fps=fps,
        published=published,
        smooth=smooth,
        threshold=threshold,
        player_mb=player_mb,
    )
    named, true = (None if path is None else read_class_file(path) for path in (classes, truth_classes))
    records = measure_corpus(read_corpus(corpus), settings, output, classes=named, truth_classes=true)
    if records is not None:
        _print(report_of(records, settings, output))


def _print(report: FlickerReport) -> None:
    assert report.output is not None
    sys.stdout.write(f"{report.table()}\n\n{report.output / 'flicker.html'}, .json, .csv\n")
