"""The two gates of `python -m bench.regress`: a change detector (frozen, detector) and a quality gate (gate)."""
