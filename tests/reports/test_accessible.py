"""No finding of axe-core on the page, in a browser: wide, on a phone, and dark; nothing scrolls sideways but what may."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.pages.build import build
from tests import drawing
from tests.reports.enriched import add_boxes, add_orders
from tests.reports.synthetic import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHECK = """
addEventListener("load", () => setTimeout(async () => {
  const may = ".scroll, .tiles, .charts, pre, svg", edge = document.documentElement.clientWidth + 1;
  const all = Array.from(document.querySelectorAll("main *")).filter((e) => !e.closest(may));
  const outside = all.filter((e) => e.getBoundingClientRect().right > edge).map((e) => e.outerHTML.slice(0, 120));
  const axed = await axe.run(document, { resultTypes: ["violations"] });
  const told = axed.violations.map((v) => `${v.id}: ${v.nodes.length} x ${v.nodes[0].html.slice(0, 160)}`);
  const sideways = document.documentElement.scrollWidth - innerWidth;
  const found = Object.assign(document.createElement("pre"), { id: "axe-found" });
  found.textContent = JSON.stringify({ told, outside, sideways });
  document.body.append(found);
}, 500));
"""


def axe() -> str:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("axe-core-python is not installed (it is among the dev extras)")
    return (Path(next(iter(spec.submodule_search_locations))) / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    axe()
    root = write_run(
        tmp_path_factory.mktemp("axe") / "run",
        seeds=1,
        prompts=4,
        samples=2,
        dense=4,
        milestones=("final", "milestone"),
    )
    add_boxes(root)
    add_orders(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing.style, "rendered", drawing.without_pdf)
        build(root)
    return root / "report" / "index.html"


def looked_at(page: Path, folder: Path, *flags: str) -> dict:
    """What axe-core and a ruler say of the page in a window of its own."""
    with_axe = folder / "index.html"
    script = f"<script>{axe()}</script><script>{CHECK}</script></body>"
    with_axe.write_text(page.read_text("utf-8").replace("</body>", script), "utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", *flags, "--dump-dom",
        with_axe.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(r'<pre id="axe-found">(.*?)</pre>', done.stdout)
    assert found, "axe-core did not end"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.parametrize(
    "flags", [("--window-size=1440,900",), ("--window-size=500,844",), ("--window-size=1440,900", "--force-dark-mode")],
    ids=["wide", "phone", "dark"],
)  # fmt: skip
def test_no_finding_and_nothing_scrolls_sideways(page, tmp_path, flags):
    found = looked_at(page, tmp_path, *flags)
    assert found["told"] == [] and found["outside"] == [] and found["sideways"] <= 0
