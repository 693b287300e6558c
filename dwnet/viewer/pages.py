"""A whole HTML page with one player."""

from collections.abc import Mapping
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dwnet.viewer.player import player_script, player_style


def player_page(player: Markup, *, title: str, lead: str, facts: Mapping[str, str]) -> str:
    """Returns the HTML of a page. It opens by double click, with the player's chunks beside it.

    Args:
        player: the element of the player (`Player.body`).
        title: title and heading.
        lead: one line below the heading.
        facts: texts by heading, on how the run was measured. They are folded at the end of the page.
    """
    return _template().render(
        player=player,
        player_style=player_style(),
        player_script=player_script(),
        title=title,
        lead=lead,
        facts=facts,
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dwnet.viewer", "player"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
