"""What the reports, and a training that uses a part of them, do not load."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_reports_load_no_torch():
    code = (
        "import pkgutil, reports, sys\n"
        "for found in pkgutil.walk_packages(reports.__path__, 'reports.'): __import__(found.name)\n"
        "assert not {'torch', 'bench'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_what_a_training_needs_of_reports_draws_nothing():
    """Its page while it goes on, and what its configuration says of the method."""
    code = (
        "import sys, reports.pages.live, reports.findings.explained\n"
        "assert not {'matplotlib', 'scipy', 'statsmodels'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
