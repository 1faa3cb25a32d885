"""`python -m bench.campaign`."""

from bench.ask.cli import run_main
from bench.campaign import main

if __name__ == "__main__":
    run_main(main)
