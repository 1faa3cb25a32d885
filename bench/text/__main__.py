"""`python -m bench.text`."""

from bench.cli import run_main
from bench.text import main

if __name__ == "__main__":
    run_main(main)
