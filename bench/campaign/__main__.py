"""`python -m bench.campaign`."""

from bench.campaign import main
from bench.cli import run_main

if __name__ == "__main__":
    run_main(main)
