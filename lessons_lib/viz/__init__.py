"""Figures for notebooks and papers, and the sliders that redraw them."""
