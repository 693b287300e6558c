"""A small run for tests of the player: 12 frames of 48 x 64 px, two methods, exact flow of one pixel to the left."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dwnet.metrics import FlickerMeter, flip_map
from dwnet.viewer import Player, PlayerFrame, PlayerInfo, PlayerMethod, PlayerWriter, flip_states, player_page

HEIGHT, WIDTH, FRAMES = 48, 64, 12
CLASSES = ("road", 'a <b>&amp; "c", ß', "sky")
PALETTE = ((250, 10, 20), (20, 200, 40), (30, 60, 240))
METHODS = ("calm", "wild <i>")
FIRST = 100
"""Number of the first frame."""


@dataclass
class Run:
    """The frames of a run, and its labels and transitions by frame and method."""

    frames: list[PlayerFrame] = field(default_factory=list)
    labels: list[dict[str, np.ndarray]] = field(default_factory=list)
    transitions: list[dict[str, np.ndarray | None]] = field(default_factory=list)

    def flips_percent(self, method: str, frame: int) -> float | None:
        table = self.transitions[frame][method]
        if table is None:
            return None
        return 100 * (1 - np.trace(table.sum(axis=0)) / table.sum())


def make_run(frames: int = FRAMES, cut: int = 6, seed: int = 0) -> Run:
    """Returns a run whose second method flips more pixels, most in frame 4. A new scene begins at frame `cut`."""
    rng = np.random.default_rng(seed)
    run = Run()
    base = np.repeat(np.repeat(rng.integers(0, 3, (6, 8)), 8, axis=0), 8, axis=1).astype(np.uint8)
    flow = np.zeros((2, HEIGHT, WIDTH), np.float32)
    flow[0] = -1
    for index in range(frames):
        image = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        labels, methods, tables = {}, {}, {}
        for method in METHODS:
            noise = 0.02 if method == "calm" else (0.5 if index == 4 else 0.05 + 0.01 * (index % 3))
            changed = rng.random((HEIGHT, WIDTH)) < noise
            ids = np.where(changed, (base + 1) % 3, base).astype(np.uint8)
            ids[0, :5] = 255
            labels[method] = ids
            states, table = None, None
            if index not in (0, cut):
                visible = np.ones((HEIGHT, WIDTH), bool)
                visible[:, -4:] = False
                before = run.labels[-1][method]
                states = flip_states(*flip_map(before, ids, flow, visible))
                meter = FlickerMeter(3)
                meter.update(before, ids, flow, visible)
                table = meter.transitions.copy()
            tables[method] = table
            methods[method] = PlayerMethod(
                ids, states, table, 10.0 + index + (method != "calm"), 2.0 * (method != "calm")
            )
        moving = index not in (0, cut)
        run.frames.append(
            PlayerFrame(
                number=FIRST + index,
                pts_seconds=index * 0.1,
                image=image,
                methods=methods,
                scene_cut=index == cut,
                coarse_flow_px=flow if moving else None,
                refined_flow_px=flow * 1.5 if moving else None,
                occlusion_weight=np.full((HEIGHT, WIDTH), 0.5, np.float32) if moving else None,
            )
        )
        run.labels.append(labels)
        run.transitions.append(tables)
    return run


def write_page(
    folder: Path, run: Run, *, budget_bytes: int = 50_000_000, worst: int = 3, folder_name: str = "files"
) -> Player:
    """Writes the player of a run as ``index.html``, chunks in ``folder_name`` and the worst frames in ``worst``."""
    folder.mkdir(exist_ok=True)
    info = PlayerInfo("Test of <i>", "clip.mp4", CLASSES, PALETTE, files={"table": "table.csv"}, worst=worst)
    with PlayerWriter(folder / ".scratch", METHODS, PALETTE, budget_bytes=budget_bytes) as writer:
        for frame in run.frames:
            writer.add(frame)
        (folder / "worst").mkdir()
        writer.write_worst(folder / "worst", worst, info)
        player = writer.finish(info, folder / folder_name)
    page = player_page(player.body, title=info.title, lead="lead", facts={"flow": "exact"})
    (folder / "index.html").write_text(page, encoding="utf-8")
    return player
