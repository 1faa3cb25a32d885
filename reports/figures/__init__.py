"""Figures for matplotlib, one subject a file, in one look."""
