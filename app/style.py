"""Theme, style sheet and method colours of the page. It uses system fonts and downloads nothing."""

import gradio as gr

from dwnet.viewer import SET_COLOURS

METHOD_NAMES = {"baseline": "Baseline", "keyframe": "Key frames", "static_warp": "Static warp", "dwnet": "DWNet"}
METHOD_NOTES = {
    "baseline": "Every frame on its own.",
    "keyframe": "Runs on every n-th frame; the others get its features along the flow.",
    "static_warp": "Adds the last frame's features along the flow.",
    "dwnet": "Warps in training only; runs like the baseline.",
}

SANS = ("ui-sans-serif", "system-ui", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "monospace")


def theme() -> gr.themes.Base:
    """The theme of the page, on system fonts."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    ).set(block_shadow="none", block_label_text_size="*text_xs", block_title_text_size="*text_sm")


def method_name(method: str) -> str:
    """Returns the display name of a method; for an unknown method, the name itself."""
    network, smoothed, keep = method.partition("_smoothed")
    if smoothed and network in METHOD_NAMES:
        return f"{METHOD_NAMES[network]}, smoothed{keep.replace('_', ' ')}"
    return METHOD_NAMES.get(method, method)


def method_note(method: str) -> str:
    """Returns a sentence on a method; empty for an unknown one."""
    smoothed = "Averages its probabilities along the flow at run time."
    return METHOD_NOTES.get(method, smoothed if "_smoothed" in method else "")


def method_colour(position: int) -> str:
    """CSS colour of the column at a position, the same as in the player."""
    return SET_COLOURS[position % len(SET_COLOURS)]


CSS = """
.gradio-container { max-width: 1900px !important; margin: 0 auto !important; padding: 0 !important; width: 100%;
  min-width: 0; }
.gradio-container .main { padding: 14px clamp(10px, 2vw, 28px) !important; min-width: 0; }
.gradio-container .wrap, .gradio-container .contain { min-width: 0; }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container .column { gap: 10px; }
.dw-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 14px; }
.dw-head h1 { font-size: 1.25rem; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
.dw-head p { margin: 0; color: var(--body-text-color-subdued); font-size: .88rem; }
.dw-muted { color: var(--body-text-color-subdued); }
.dw-note { font-size: .8rem; line-height: 1.4; color: var(--body-text-color-subdued); padding: 0 2px; }
.dw-note.dw-bad { color: #c0392b; }
.dark .dw-note.dw-bad { color: #ff8a7a; }
:focus-visible { outline: 2px solid #1a56b0 !important; outline-offset: 2px; }
.dark :focus-visible { outline-color: #8ab8ff !important; }

#bar { align-items: stretch; }
#bar #clip { min-height: 84px; }
#bar #clip .wrap, #model-file .wrap { font-size: .8rem; line-height: 1.3; padding: 12px 0 0; min-height: 0; }
#bar #clip .icon-wrap, #model-file .icon-wrap { display: none; }
#gallery { flex-wrap: nowrap; }
button.dw-example { background-size: cover; background-position: center; height: 84px; align-items: flex-end;
  justify-content: flex-start; padding: 5px 8px; color: #fff; font-size: .78rem; text-shadow: 0 0 3px #000;
  border: 1px solid var(--border-color-primary); }
button.dw-example:hover { filter: brightness(1.15); }
#actions { gap: 6px; justify-content: stretch; }
#actions button { flex: 1 1 0; }
body.dw-dropping #clip { outline: 3px dashed #1a56b0; outline-offset: 2px; }
.dw-column { gap: 4px !important; }
.dw-links { display: flex; flex-wrap: wrap; gap: 6px; margin-bottom: 8px; }
.dw-links a { font-size: .8rem; color: var(--body-text-color); text-decoration: none; padding: 4px 10px;
  border: 1px solid var(--border-color-primary); border-radius: 6px; background: var(--background-fill-secondary); }
.dw-links a:hover { border-color: #0f9d8a; }
.dw-result iframe { display: block; width: 100%; }

.dw-status { display: flex; flex-direction: column; gap: 5px; }
.dw-status .dw-bar { height: 4px; border-radius: 2px; background: var(--border-color-primary); overflow: hidden; }
.dw-status .dw-bar > i { display: block; height: 100%; background: #0f9d8a; }
.dw-status .dw-text { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 14px; font-size: .82rem;
  min-height: 1.3em; font-variant-numeric: tabular-nums; }

.dw-grid { display: grid; grid-template-columns: repeat(var(--columns, 3), minmax(0, 1fr)); gap: 10px;
  max-width: max(420px, calc(var(--columns, 3) * ((100vh - 340px) / 2 - 42px) * var(--ratio, 1.78))); }
.dw-panel { margin: 0; min-width: 0; }
.dw-panel figcaption { display: flex; justify-content: space-between; align-items: baseline; gap: 8px;
  font-size: .85rem; line-height: 1.35; }
.dw-panel figcaption b { font-weight: 620; white-space: nowrap; }
.dw-panel figcaption span { font-variant-numeric: tabular-nums; white-space: nowrap; }
.dw-panel p { margin: 0 0 4px; font-size: .74rem; line-height: 1.3; color: var(--body-text-color-subdued);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.dw-picture { position: relative; width: 100%; border-radius: 6px; overflow: hidden;
  background: var(--border-color-primary); }
.dw-picture img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; display: block;
  margin: 0; }
.dw-picture .dw-wheel { inset: auto 6px 6px auto; width: 20%; max-width: 60px; height: auto; border-radius: 50%;
  box-shadow: 0 0 0 1px #fff; }
.dw-picture .dw-empty { position: absolute; inset: 0; display: flex; align-items: center; justify-content: center;
  text-align: center; padding: 8px; font-size: .78rem; color: var(--body-text-color-subdued); }
.dw-dot { display: inline-block; width: .62em; height: .62em; border-radius: 50%; margin-right: .42em; }

.dw-legend { display: flex; flex-wrap: wrap; gap: 3px 14px; font-size: .78rem; }
.dw-legend i { display: inline-block; width: .8em; height: .8em; border-radius: 3px; margin-right: .4em;
  vertical-align: -.06em; }

.dw-card h2 { font-size: .9rem; font-weight: 620; margin: 0 0 1px; }
.dw-card > p { margin: 0 0 6px; font-size: .74rem; line-height: 1.35; color: var(--body-text-color-subdued); }
.dw-card svg { display: block; width: 100%; max-width: 860px; height: auto; }
.dw-card svg text { fill: currentColor; font-size: 11px; opacity: .7; }
.dw-card svg .dw-axis { stroke: currentColor; opacity: .16; }
.dw-scroll { overflow-x: auto; }
.dw-card .dw-table { border-collapse: collapse; border: 0 !important; width: 100%; margin: 0; font-size: .8rem;
  font-variant-numeric: tabular-nums; }
.dw-card .dw-table tr, .dw-card .dw-table tbody { border: 0 !important; }
.dw-card .dw-table th, .dw-card .dw-table td { text-align: right; padding: 3px 0 3px 9px; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; white-space: nowrap; }
.dw-card .dw-table th { font-weight: 560; color: var(--body-text-color-subdued); }
.dw-card .dw-table th:first-child, .dw-card .dw-table td:first-child { text-align: left; padding-left: 0; }
.dw-card .dw-table tr.dw-part th { padding-top: 9px; }
.dw-better { color: #0b7d6e; } .dw-worse { color: #b3541e; }
.dark .dw-better { color: #3fd0bd; } .dark .dw-worse { color: #f0a36b; }

@media (max-width: 760px) {
  .dw-grid { grid-template-columns: minmax(0, 1fr); max-width: none; }
  #gallery button { min-width: 80px !important; }
  .dw-panel p { white-space: normal; }
  /* Gradio puts its own container before every selector in here. */
  .column { min-width: 0 !important; max-width: 100%; }
  .row > .column { flex: 1 1 100% !important; }
  .dw-card .dw-table th, .dw-card .dw-table td { padding-left: 7px; }
  .dw-table small { display: block; line-height: 1; }
}
"""

HEAD = """
<script>
(() => {
  // A clip can be dropped anywhere on the page.
  const dragged = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (on) => document.body.classList.toggle("dw-dropping", on);
  addEventListener("dragover", (event) => { if (dragged(event)) { event.preventDefault(); mark(true); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
  addEventListener("drop", (event) => {
    mark(false);
    if (!dragged(event) || event.target.closest?.("#model-file, #clip")) return;
    event.preventDefault();
    const field = document.querySelector("#clip input[type=file]");
    if (!field || !event.dataTransfer.files.length) return;
    const one = new DataTransfer();
    one.items.add(event.dataTransfer.files[0]);
    field.files = one.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // The address names the shown result, so that a link leads to it. The player adds the frame and the view.
  let shown = null;
  new MutationObserver(() => {
    const name = document.querySelector("#player [data-run]")?.dataset.run ?? null;
    if (name === shown) return;
    const url = new URL(location.href);
    if (name) url.searchParams.set("run", name);
    else url.searchParams.delete("run");
    if (shown !== null) url.hash = "";
    shown = name;
    history.replaceState(history.state, "", url);
  }).observe(document, { childList: true, subtree: true });
})();
</script>
"""
