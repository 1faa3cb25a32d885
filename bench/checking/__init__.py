"""What `python -m bench.check` looks at, a room for each kind of file of a run."""
