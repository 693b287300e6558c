"""Layout of the page, and the event handler of each control."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from .callbacks import Callbacks
from .columns import MOST_COLUMNS, PAGE_FLOWS
from .examples import Example
from .render import legend_html
from .updates import LARGEST_SIDE, Chosen, Update

TITLE = """
<div class="dw-head"><h1>DWNet</h1>
<p>One clip, segmented by several networks. Which one flickers least, and what does it cost?</p></div>
"""
CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif")
MODEL_SUFFIXES = (".onnx", ".json", ".txt", ".csv", ".yaml", ".yml")
CHOOSE = "choose"
"""Queue of the chosen clips. Decoding the first frame of one clip at a time bounds the memory."""
QUEUE_LENGTH = 40
SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class _Controls(NamedTuple):
    """The settings of a comparison, in the order of the arguments of `Callbacks.run`."""

    max_side: Any
    every: Any
    limit: Any
    opacity: Any
    flow: Any
    worst: Any
    video: Any
    refined_flow: Any
    models: list[Any]
    keeps: list[Any]
    names: list[Any]

    def inputs(self) -> list[Any]:
        """Returns all controls as one list."""
        one_each = [self.max_side, self.every, self.limit, self.opacity, self.flow, self.worst]
        return [*one_each, self.video, self.refined_flow, *self.models, *self.keeps, *self.names]


def build(callbacks: Callbacks, shown: Sequence[Example]) -> gr.Blocks:
    """Builds the page as Gradio blocks; `server.web_app` serves it.

    Args:
        callbacks: the event handlers.
        shown: the clips of the gallery; the first one is chosen at the start.
    """
    chosen = str(shown[0].path) if shown else None
    first = callbacks.describe(chosen)
    with gr.Blocks(title="DWNet: steadier video segmentation", analytics_enabled=False) as page:
        gr.HTML(TITLE)
        clip = gr.State(chosen)
        with gr.Row(equal_height=True, elem_id="bar"):
            # Not gr.Video: it rejects clips that PyAV reads but the browser cannot play.
            upload = gr.File(
                label="Choose a clip, or drop it anywhere",
                file_types=list(CLIP_SUFFIXES),
                height=84,
                elem_id="clip",
                scale=2,
                min_width=220,
            )
            buttons = _gallery(shown)
            with gr.Column(scale=1, min_width=190, elem_id="actions"):
                start = gr.Button("Compare", variant="primary", elem_id="compare")
                stop = gr.Button("Stop", interactive=False, elem_id="stop")
        note = gr.HTML(first.note, elem_id="clip-note")
        controls, model_file, model_note = _settings(callbacks)
        status = gr.HTML(first.status, elem_id="status")
        with gr.Row(equal_height=False, elem_id="live") as live:
            with gr.Column(scale=13, min_width=320):
                panels = gr.HTML(first.panels, elem_id="panels")
                gr.HTML(legend_html(callbacks.networks.classes, callbacks.networks.palette))
                curve = gr.HTML(first.curve, elem_id="curve")
            with gr.Column(scale=7, min_width=320):
                table = gr.HTML(first.table, elem_id="table")
        player = gr.HTML("", visible=False, elem_id="player")
        gr.HTML(f'<p class="dw-note" id="limits">{callbacks.limits.text()}</p>')

        outputs = Update(status, panels, curve, table, live, player, start, stop)
        described = Chosen(note, status, panels, curve, table, live, player)
        _wire_clip(callbacks, clip, upload, buttons, shown, described)
        start.click(callbacks.run, [clip, *controls.inputs()], list(outputs), concurrency_limit=None, **SILENT)
        stop.click(callbacks.stop, None, None, queue=False, **SILENT)
        model_file.upload(
            callbacks.add_model,
            model_file,
            [model_file, model_note, *controls.models],
            concurrency_id=CHOOSE,
            **SILENT,
        )
        page.load(callbacks.arrive, None, [status, live, player], **SILENT)
        page.unload(callbacks.leave)
        _endpoint(callbacks)
    page.queue(max_size=QUEUE_LENGTH + callbacks.limits.waiting)
    callbacks.unsent = lambda session: _unsent(page, session)
    return page


def _gallery(shown: Sequence[Example]) -> list[gr.Button]:
    with gr.Row(elem_id="gallery", scale=3):
        return [
            gr.Button(one.title, elem_id=f"example-{place}", elem_classes="dw-example", min_width=110)
            for place, one in enumerate(shown)
        ]


def _settings(callbacks: Callbacks) -> tuple[_Controls, gr.File, gr.HTML]:
    names = list(callbacks.networks.segmenters)
    # No value of a dropdown is None, so that "none" can be chosen again.
    choices = [("none", ""), *((name, name) for name in names)]
    models, keeps, titles = [], [], []
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        with gr.Row():
            for place, column in enumerate(callbacks.models.defaults()):
                with gr.Column(min_width=200, elem_classes="dw-column"):
                    label = f"Column {place + 1}{' (reference)' if place == 0 else ''}"
                    models.append(gr.Dropdown(choices, value=column.model or "", label=label, elem_id=f"model-{place}"))
                    titles.append(gr.Textbox(label="Name", placeholder="as the network", elem_id=f"name-{place}"))
                    keeps.append(
                        gr.Slider(
                            0, 0.95, 0, step=0.05, label="Average along the flow (0: off)", elem_id=f"keep-{place}"
                        )
                    )
        with gr.Row(visible=callbacks.limits.upload_models):
            model_file = gr.File(
                label="Add a network (.onnx; of another package: with its classes file)",
                file_types=list(MODEL_SUFFIXES),
                file_count="multiple",
                height=84,
                elem_id="model-file",
            )
            model_note = gr.HTML("", elem_id="model-note")
        with gr.Row():
            size = gr.Slider(160, LARGEST_SIDE, 480, step=32, label="Working size (px)", elem_id="size")
            opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Colour opacity", elem_id="opacity")
            every = gr.Number(1, label="Every n-th frame", minimum=1, precision=0, min_width=90, elem_id="every")
            limit = gr.Number(0, label="At most (0: all)", minimum=0, precision=0, min_width=90, elem_id="limit")
            flow = gr.Dropdown(list(PAGE_FLOWS), value=PAGE_FLOWS[0], label="Flow", min_width=110, elem_id="flow")
            worst = gr.Number(
                10, label="Worst frames to save", minimum=0, maximum=999, precision=0, min_width=90, elem_id="worst"
            )
        with gr.Row():
            video = gr.Checkbox(True, label="Side-by-side video (MP4) for download", elem_id="with-video")
            refined = gr.Checkbox(
                False,
                label="Refined flow in the player",
                visible=callbacks.networks.flow_refinement is not None,
                elem_id="with-refined",
            )
    assert len(models) == MOST_COLUMNS
    controls = _Controls(size, every, limit, opacity, flow, worst, video, refined, models, keeps, titles)
    return controls, model_file, model_note


def _wire_clip(
    callbacks: Callbacks,
    clip: gr.State,
    upload: gr.File,
    buttons: Sequence[gr.Button],
    shown: Sequence[Example],
    described: Chosen,
) -> None:
    """An upload or a press on an example chooses a clip, and then its first frame is shown."""
    describe: dict[str, Any] = {"concurrency_id": CHOOSE, "concurrency_limit": 1, **SILENT}
    upload.upload(callbacks.take, upload, [clip, upload, described.note], queue=False, **SILENT).then(
        callbacks.describe, clip, list(described), **describe
    )
    for button, example in zip(buttons, shown, strict=True):
        button.click(partial(_path_of, example.path), None, clip, queue=False, **SILENT).then(
            callbacks.describe, clip, list(described), **describe
        )


def _path_of(path: Path) -> str:
    return str(path)


def _endpoint(callbacks: Callbacks) -> None:
    """The API endpoint. Its components are hidden. Gradio needs them to receive uploads and to send files."""
    with gr.Column(visible=False):
        inputs = [
            gr.File(label="clip"),
            gr.Number(480, label="max_side"),
            gr.Number(1, label="every", precision=0),
            gr.Number(0, label="limit", precision=0),
            gr.Number(0.6, label="opacity"),
        ]
        gr.Button("API").click(
            callbacks.compare_clip,
            inputs,
            [gr.JSON(label="report"), gr.Files(label="files")],
            api_name="compare_clip",
            concurrency_limit=None,
        )


def _unsent(page: gr.Blocks, session: str) -> int:
    """Returns the number of unsent messages of a browser. Reads a private attribute of Gradio; 0 if it is missing."""
    messages = getattr(page._queue, "pending_messages_per_session", {}).get(session)
    return 0 if messages is None else messages.qsize()
