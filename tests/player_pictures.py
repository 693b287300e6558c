"""Takes the pictures of docs/guides/player.md: `python tests/player_pictures.py REPORT.html docs/pictures`.

REPORT.html is the page that `dwnet compare assets/street_crossing.mp4 --refined-flow --limit 60` writes.
"""

import sys
from pathlib import Path

from tests.browsers import chromium

PICTURES = {
    # name: width, height, colour scheme, fragment
    "player": (1280, 1000, "light", "frame=30&view=grid"),
    "player_wipe": (1280, 1000, "dark", "frame=30&view=wipe&a=labels-baseline&b=labels-dwnet&x=0.5"),
    "player_flips": (1280, 1000, "light", "frame=30&view=flips"),
}


def main(report: str, folder: str) -> None:
    """Saves one JPEG for each picture."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name, (width, height, scheme, fragment) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(f"{Path(report).resolve().as_uri()}#{fragment}")
            page.wait_for_selector("[data-ready]")
            page.wait_for_timeout(2000)  # the thumbnails
            # Without the table: its times are those of the machine that made the report.
            page.locator(".dwp-left").screenshot(path=f"{folder}/{name}.jpg", type="jpeg", quality=80)
            page.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
