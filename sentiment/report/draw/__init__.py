"""Charts as plain data, and what draws them: plotly, matplotlib, the page."""
