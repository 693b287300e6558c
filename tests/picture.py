"""Takes the pictures of the running page: `python tests/picture.py http://127.0.0.1:7860 assets/app.png [CLIP]`.

The script presses Compare for the chosen clip (or uploads CLIP), waits for the end, and saves a picture of the whole
page, as in the README. It prints the seconds until the first compared frame and until the end.
"""

import os
import shutil
import sys
import time

from playwright.sync_api import sync_playwright


def main(url: str, target: str, clip: str | None = None) -> None:
    """Takes the picture with headless Chromium. DWNET_CHROMIUM names it if it is not `chromium` on the path."""
    chromium = os.environ.get("DWNET_CHROMIUM") or shutil.which("chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(1_200_000)
        page.goto(url)
        page.wait_for_selector("#compare:not([disabled])")
        if clip is not None:
            before = page.inner_text("#clip-note")
            page.set_input_files("#clip input[type=file]", clip)
            page.wait_for_function(
                "old => (now => now.includes('px') && now !== old)(document.querySelector('#clip-note').innerText)",
                arg=before,
            )
        start = time.monotonic()
        page.click("#compare")
        page.wait_for_selector("[data-panel=dwnet] img")
        print(f"first compared frame after {time.monotonic() - start:.1f} s")
        page.wait_for_function("document.querySelector('#status').innerText.includes('frames compared.')")
        player = page.frame_locator("#player iframe")
        player.locator(".dwp-moments canvas").first.wait_for()
        worst = player.locator(".dwp-moments button").first
        if worst.count():
            worst.click()
        print(f"all frames after {time.monotonic() - start:.1f} s")
        time.sleep(2)
        page.screenshot(path=target, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
