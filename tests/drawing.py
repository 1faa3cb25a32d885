"""Figures that are not drawn, for tests of what is around them."""

import io

from PIL import Image

from reports.figures import style

REAL = style.rendered


def plainly(figure, pdf: bool = True) -> dict[str, bytes]:
    """In the place of reports.figures.style.rendered, which takes seconds: the figure as one pixel."""
    style.plt.close(figure)
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    return {"png": stream.getvalue()} | ({"pdf": b"%PDF"} if pdf else {})
