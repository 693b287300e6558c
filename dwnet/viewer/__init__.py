"""Plots for pages and reports, as HTML fragments that need no network access."""

from dwnet.viewer.plots import SET_COLOURS, Line, grouped_bars, line_plot, plot_script, plot_style

__all__ = ["SET_COLOURS", "Line", "grouped_bars", "line_plot", "plot_script", "plot_style"]
