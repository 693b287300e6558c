"""Layout of the page, and the event handler of each control."""

from pathlib import Path

import gradio as gr

from .callbacks import Callbacks, Update
from .curve import FlickerCurve
from .render import curve_html, legend_html, status_html, table_html

HEAD = """
<div class="dw-head"><h1>DWNet</h1>
<p>The same street clip, segmented three ways. Which one flickers least, and what does it cost?</p></div>
"""
CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif")
ONE_AT_A_TIME = "compare"
"""Queue of all comparisons. Two comparisons at once would distort the measured times."""

CACHE_CHECK_SECONDS, CACHE_AGE_SECONDS = 1800, 6 * 3600
QUEUE_LENGTH = 20


def build(callbacks: Callbacks, sample: Path | None) -> gr.Blocks:
    """Builds the page as Gradio blocks; `launch` serves it.

    Args:
        callbacks: the event handlers.
        sample: the clip that is chosen at the start; None starts without a clip.
    """
    networks, methods = callbacks.networks, callbacks.methods
    chosen = None if sample is None else str(sample)
    note, panels = callbacks.describe(chosen)
    with gr.Blocks(
        title="DWNet: steadier video segmentation",
        analytics_enabled=False,
        delete_cache=(CACHE_CHECK_SECONDS, CACHE_AGE_SECONDS),
    ) as page:
        gr.HTML(HEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=0, min_width=280, elem_id="settings"):
                # Not gr.Video: it rejects clips that PyAV reads but the browser cannot play.
                clip = gr.File(chosen, label="Clip", file_types=list(CLIP_SUFFIXES), height=120, elem_id="clip")
                clip_note = gr.HTML(note, elem_id="clip-note")
                with gr.Row():
                    start = gr.Button("Compare", variant="primary", min_width=100, elem_id="compare")
                    stop = gr.Button("Stop", interactive=False, min_width=70, elem_id="stop")
                max_side = gr.Slider(160, 960, 480, step=32, label="Working size (px)", elem_id="size")
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Colour opacity", elem_id="opacity")
                with gr.Row():
                    every = gr.Number(
                        1, label="Every n-th frame", minimum=1, precision=0, min_width=90, elem_id="every"
                    )
                    limit = gr.Number(
                        0, label="At most (0: all)", minimum=0, precision=0, min_width=90, elem_id="limit"
                    )
            with gr.Column(scale=1, min_width=320):
                status = gr.HTML(status_html("Ready. Press Compare."), elem_id="status")
                pictures = gr.HTML(panels, elem_id="panels")
                gr.HTML(legend_html(networks.classes, networks.palette))
                with gr.Column(visible=False, elem_id="results") as results:
                    video = gr.Video(
                        show_label=False,
                        interactive=False,
                        include_audio=True,
                        buttons=[],
                        loop=True,
                        elem_id="video",
                    )
                    with gr.Row():
                        video_file = gr.DownloadButton("Video (MP4)", size="sm", elem_id="get-mp4")
                        csv_file = gr.DownloadButton("Every frame (CSV)", size="sm", elem_id="get-csv")
                        json_file = gr.DownloadButton("Report (JSON)", size="sm", elem_id="get-json")
                with gr.Row(equal_height=False):
                    with gr.Column(min_width=320, scale=4):
                        curve = gr.HTML(curve_html(FlickerCurve(methods)), elem_id="curve")
                    with gr.Column(min_width=320, scale=5):
                        table = gr.HTML(
                            table_html(networks.classes, methods, None, callbacks.miou_percent), elem_id="table"
                        )

        settings = [clip, max_side, every, limit, opacity]
        outputs = Update(status, pictures, curve, table, results, video, video_file, csv_file, json_file, start, stop)
        clip.change(
            callbacks.choose,
            clip,
            [clip_note, pictures, status, curve, table, results],
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )
        pressed = start.click(
            callbacks.press, None, [start, stop, status], show_progress="hidden", queue=False, api_visibility="private"
        )
        ran = pressed.then(
            callbacks.run,
            settings,
            list(outputs),
            show_progress="hidden",
            concurrency_id=ONE_AT_A_TIME,
            concurrency_limit=1,
            api_visibility="private",
        )
        ran.failure(
            callbacks.refused,
            None,
            [start, stop, status],
            show_progress="hidden",
            queue=False,
            api_visibility="private",
        )
        stop.click(
            callbacks.stop, None, [start, stop, status], show_progress="hidden", queue=False, api_visibility="private"
        )
        page.unload(callbacks.leave)
        # The API endpoint. Its components are hidden. Gradio needs them to check uploads and manage files.
        with gr.Column(visible=False):
            gr.Button("API").click(
                callbacks.compare_clip,
                settings,
                [gr.JSON(label="report"), gr.Files(label="files")],
                api_name="compare_clip",
                concurrency_id=ONE_AT_A_TIME,
                concurrency_limit=1,
            )
    page.queue(max_size=QUEUE_LENGTH)
    callbacks.waiting = lambda session: _unsent(page, session)
    return page


def _unsent(page: gr.Blocks, session: str) -> int:
    """Returns the number of unsent messages of a browser. Reads a private attribute of Gradio; 0 if it is missing."""
    messages = getattr(page._queue, "pending_messages_per_session", {}).get(session)
    return 0 if messages is None else messages.qsize()
