"""The player of pages and reports, and plots, as HTML that needs no network access."""

from dwnet.viewer.frames import PlayerFrame, PlayerMethod, flip_states
from dwnet.viewer.moments import worst_moments
from dwnet.viewer.occlusion import occlusion_weight
from dwnet.viewer.pages import player_page
from dwnet.viewer.palettes import SAFE_COLOURS, safe_palette
from dwnet.viewer.player import (
    DEFAULT_MB,
    Player,
    PlayerInfo,
    PlayerWriter,
    player_frame,
    player_script,
    player_style,
    relative_address,
)
from dwnet.viewer.plots import SET_COLOURS, Line, grouped_bars, line_plot, plot_script, plot_style

__all__ = [
    "DEFAULT_MB",
    "SAFE_COLOURS",
    "SET_COLOURS",
    "Line",
    "Player",
    "PlayerFrame",
    "PlayerInfo",
    "PlayerMethod",
    "PlayerWriter",
    "flip_states",
    "grouped_bars",
    "line_plot",
    "occlusion_weight",
    "player_frame",
    "player_page",
    "player_script",
    "player_style",
    "plot_script",
    "plot_style",
    "relative_address",
    "safe_palette",
    "worst_moments",
]
