"""What pages and reports show: plots as pieces of HTML that need no network."""

from dwnet.viewer.plots import SET_COLOURS, Line, grouped_bars, line_plot, plot_script, plot_style

__all__ = ["SET_COLOURS", "Line", "grouped_bars", "line_plot", "plot_script", "plot_style"]
