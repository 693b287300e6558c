"""The pages that the tests of this folder read, and their code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CARD = (ROOT / "MODEL_CARD.md").read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
"""Every page of docs/ by its path from the root."""
TEXTS = {
    name: (ROOT / name).read_text()
    for name in ("README.md", "MODEL_CARD.md", "CONTRIBUTING.md", "CHANGELOG.md")
    if (ROOT / name).exists()
} | PAGES
"""Every page of the root and of docs/, by its path."""


def blocks(text: str, language: str) -> list[str]:
    """Returns the content of each fenced block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def command_lines(*names: str) -> list[str]:
    """Returns the commands in the bash blocks of these pages, or of all pages, without comments."""
    texts = [TEXTS[name] for name in names] or list(TEXTS.values())
    lines = [line for text in texts for block in blocks(text, "bash") for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
