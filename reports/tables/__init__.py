"""Tables for a terminal, Markdown, CSV and LaTeX."""
