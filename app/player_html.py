"""The player of a finished comparison in the page, with its downloads."""

import json
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from dwnet.viewer import player_frame


def finished_html(folder: Path, root_path: str) -> str | None:
    """Returns the HTML of a stored result: links for download, and the player.

    Args:
        folder: folder of the result (`ComparisonFiles`); its name is the name of the result.
        root_path: path of the page behind a proxy; empty without one.

    Returns:
        The HTML; None if the folder has no page of a player.
    """
    page = next(folder.glob("*_comparison.html"), None)
    report = next(folder.glob("*_comparison.json"), None)
    if page is None or report is None:
        return None
    base = f"{root_path}/runs/{folder.name}/"
    clip = json.loads(report.read_text("utf-8"))["clip"]["name"]
    links = [("Report (ZIP)", "report.zip", "get-report")]
    if any(folder.glob("*_comparison_worst")):
        links.append(("Worst frames for relabelling (ZIP)", "worst.zip", "get-worst"))
    files = (("Video (MP4)", "mp4"), ("Every frame (CSV)", "csv"), ("Numbers (JSON)", "json"))
    links += [
        (text, quote(os.fsencode(f"{page.stem}.{suffix}")), f"get-{suffix}")
        for text, suffix in files
        if page.with_suffix(f".{suffix}").exists()
    ]
    row = "".join(f'<a id="{key}" href="{base}{file}" download>{escape(text)}</a>' for text, file, key in links)
    frame = player_frame(page.read_text("utf-8"), base=base, title=f"Player: comparison on {clip}")
    return (
        f'<div class="dw-result" data-run="{folder.name}"><nav class="dw-links" aria-label="Downloads">{row}</nav>'
        f"{frame}</div>"
    )
