"""`dwnet compare`."""

import json
from pathlib import Path

import tyro

from dwnet.cli.options import DecoderName, DeviceName, FlowName, RuntimeName, limit_clips, print_warning, use_runtime
from dwnet.core.progress import Progress
from dwnet.core.tables import markdown_table, number_cell


def compare(
    clip: tyro.conf.Positional[Path],
    /,
    models: Path | None = None,
    output: Path = Path("comparison"),
    max_side: int = 480,
    every: int = 1,
    limit: int | None = None,
    flow: FlowName = "dis",
    flow_weights: str = "published",
    smooth: tuple[str, ...] = (),
    player_mb: int = 200,
    worst: int = 10,
    video: bool = False,
    refined_flow: bool = False,
    overlap: bool = True,
    max_pixels: int | None = None,
    max_memory_mb: int | None = None,
    decoder: DecoderName = "pyav",
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
) -> None:
    """Compare exported networks on a clip, and write a page with a player, CSV, JSON and the worst frames.

    Args:
        clip: a video file, or a folder of images.
        models: folder of exported networks, one per method, including the baseline; default: the bundled ones.
        output: folder for the files.
        max_side: longer side of the reduced frames, in pixels.
        every: take every n-th frame.
        limit: largest number of frames to compare; default: all.
        flow: optical flow for measuring flicker and for the methods that warp.
        flow_weights: weights of the flow: published, or a file.
        smooth: also compare these methods with their class probabilities averaged along the flow at run time, each
            NAME or NAME=KEEP; KEEP is the weight of the past, 0 to below 1, default 0.5.
        player_mb: largest size of the frames that the player stores, in MB; a longer clip is stored at a lower rate,
            except around the worst moments. 0: no player.
        worst: number of worst frames, with every method's labels, in a folder for relabelling; 0: no folder.
        video: also write the overlays side by side as an MP4.
        refined_flow: also store the refined flow in the player, if a network refines it.
        overlap: run decoding, flow, networks and writing at the same time; without it, the comparison is slower and the
            methods' times are those of an otherwise idle process.
        max_pixels: largest number of pixels of a frame of a clip; default: 40 million, which allows 8192 x 4320.
        max_memory_mb: largest memory in MiB for decoding a clip, estimated from its header; default: 4096.
        decoder: decoder of the pixels. decord reads MP4, Matroska and FLV; FFmpeg checks every frame beside it, and
            decodes the clips and frames in which decord is not exact. Frames that --max-side reduces differ by some
            grey levels between the two, and so do the labels.
        runtime: runtime of the networks: onnxruntime, openvino (extra openvino), or auto, the fastest installed one.
        device: device of the networks: cpu; cuda, tensorrt, coreml or directml, if the build of ONNX Runtime has them;
            gpu (OpenVINO); or auto.
    """
    from dwnet.comparison import ComparisonFiles, load_networks
    from dwnet.comparison import compare as run
    from dwnet.core.bundled import models_folder
    from dwnet.flow.registry import flow_function
    from dwnet.video import set_default_decoder

    limit_clips(max_pixels, max_memory_mb)
    set_default_decoder(decoder)
    use_runtime(runtime, device)
    progress, frame = Progress(clip.name), None
    networks = load_networks(models or models_folder()).smoothed(smooth, flow=flow_function(flow, weights=flow_weights))
    for frame in run(
        clip,
        networks,
        output_dir=output,
        flow=flow,
        flow_weights=flow_weights,
        max_side=max_side,
        every=every,
        limit=limit,
        player_mb=player_mb,
        worst=worst,
        video=video,
        refined_flow=refined_flow,
        overlap=overlap,
    ):
        progress(frame.compared, frame.expected or frame.compared)
    progress.close()
    assert frame is not None  # `run` refuses a clip without frames
    headings = ("method", "flips %", "temporal consistency %", "median ms per frame", "mean ms")
    rows = []
    for method, summary in frame.summaries.items():
        cells = [summary.flips_percent, summary.temporal_consistency_percent]
        cells += [summary.latency_ms_median, summary.latency_ms_mean]
        rows.append([method, *map(number_cell, cells)])
    print(markdown_table(headings, rows))
    files = ComparisonFiles.beside(output, Path(clip.name))
    print_warning(json.loads(files.json.read_text("utf-8"))["clip"]["warning"])
    written = (files.page, files.video, files.csv, files.json, files.worst)
    chosen = next(iter(networks.segmenters.values())).session.choice
    print(f"\nnetworks: {chosen}")
    print(f"\n{frame.compared} frames; {', '.join(str(path) for path in written if path.exists())}")
