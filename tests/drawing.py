"""Figures that are not drawn, for tests of what is around them."""

import io

from PIL import Image

from reports.figures import style

REAL = style.rendered


def plainly(figure, kinds=("png", "pdf")) -> dict[str, bytes]:
    """In the place of reports.figures.style.rendered, which takes seconds: the figure as one pixel."""
    style.plt.close(figure)
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    plain = {"png": stream.getvalue(), "pdf": b"%PDF", "svg": b'<svg viewBox="0 0 1 1"></svg>'}
    return {kind: plain[kind] for kind in kinds}


def without_pdf(figure, kinds=("png", "pdf")) -> dict[str, bytes]:
    """The figure as it is, but for its PDF, which takes as long as all else."""
    return REAL(figure, [kind for kind in kinds if kind != "pdf"])
