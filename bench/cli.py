"""What every command line shares: one clear sentence instead of a traceback, and the right exit code."""

import os
import sys
from collections.abc import Callable

from htgrpo.errors import EXIT_INCOMPLETE, UserError


def run_main(main: Callable[[], int]) -> None:
    """Runs `main` and leaves the process with its exit code: 0 ok, 1 gate failed, 2 usage, 3 incomplete or interrupted."""
    try:
        code = main()
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted: finished work is kept; run the same command again to go on", file=sys.stderr)
        code = EXIT_INCOMPLETE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
