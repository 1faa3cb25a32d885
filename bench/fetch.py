"""Brings published files that this package does not contain into the user's cache."""

import os
import sys
import tempfile
from pathlib import Path

from bench.ask import kinds
from bench.ask.cli import run_main
from bench.ask.flags import RUNNING, Parser
from bench.sources.assets import FOLDER, Asset, Source, cache_folder, find, has_content, manifest, named
from bench.sources.extract import make
from htgrpo.base.errors import EXIT_OK, EXIT_USAGE, UserError
from htgrpo.base.files import explained, make_folder
from htgrpo.base.values import OneOf

RETRIES = 2
"""After a download that broke off or has other content."""
TIMEOUT = 60.0
"""Seconds without an answer."""
DESCRIPTION = """\
Brings published files that this package does not contain into the user's cache.

Every file is pinned by its content and checked before it is put in its place; one that differs is thrown away. Files
that you have already are used from the folder that --assets or the environment variable HTGRPO_ASSETS names.
"""
EXAMPLES = (
    ("--list", "what there is, what is here already, and under which licence"),
    ("geneval_metadata dpg_prompts", "brings these"),
    ("--all", "brings everything that is not here"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("fetch", DESCRIPTION, EXAMPLES)
    p.flag("names NAME", OneOf(manifest, "asset"), f"of {', '.join(manifest())}", nargs="*")
    p.switch("--all", "every asset")
    p.switch("--list", "show the assets and bring nothing")
    p.flag("--assets DIR", kinds.Folder(), f"a folder that has assets already (default: ${FOLDER})", RUNNING)
    return p


def main(argv: list[str] | None = None) -> int:
    """Lists or brings assets; returns the exit code. One that cannot be had does not keep the others from coming."""
    lines = parser()
    args = lines.parse_args(argv)
    for one in ("all", "list"):
        if getattr(args, one):
            lines.refuse_all_but(args, (one, "assets"), f"with --{one}")
    if args.assets:
        os.environ[FOLDER] = str(args.assets)
    if args.list:
        print("\n".join(listing()))
        return EXIT_OK
    names = [one.name for one in manifest().values() if one.sources] if args.all else args.names
    if not names:
        raise UserError("no asset was named: give names, --all or --list")
    failed = False
    for wanted in [named(name) for name in names]:
        try:
            print(f"{wanted.name}: {fetch(wanted)}", flush=True)
        except UserError as error:
            print(f"error: {error.message}", file=sys.stderr, flush=True)
            failed = True
    return EXIT_USAGE if failed else EXIT_OK


def listing() -> list[str]:
    """One line for every asset: name, state, what it is, licence and origin."""
    lines = []
    for one in manifest().values():
        try:
            path = find(one)
            state = f"here: {path}" if path else "not here"
        except UserError as error:
            state = f"unusable: {error.message}"
        lines += [f"{one.name:20} {one.what}", f"{'':20} {state}", f"{'':20} {one.licence}; {one.upstream}"]
    return lines


def fetch(wanted: Asset) -> Path:
    """The asset's file, downloaded into the cache where it is not here yet. Raises UserError; then nothing was
    written."""
    found = find(wanted)
    if found:
        return found
    if not wanted.sources:
        raise UserError(
            f"{wanted.name!r} cannot be fetched: {wanted.recipe['reason']}; put it as {wanted.file} into a folder "
            f"and set {FOLDER} to that"
        )
    print(f"{wanted.name}: {wanted.licence} ({wanted.upstream})", flush=True)  # before anything is brought
    target = cache_folder() / wanted.file
    make_folder(cache_folder())
    with explained(target), tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f".{wanted.name}.") as folder:
        downloaded = {name: download(source, Path(folder), name, wanted) for name, source in wanted.sources.items()}
        made = Path(folder) / "made"
        make(wanted, downloaded, made)
        if not has_content(made, wanted.digest):
            raise UserError(
                f"what {wanted.upstream} holds for {wanted.name!r} is not the pinned content ({wanted.digest}): "
                f"nothing was kept; use a copy of {wanted.file} in a folder that {FOLDER} names"
            )
        os.chmod(made, 0o644)
        make_folder(target.parent)
        os.replace(made, target)
    return target


def download(source: Source, folder: Path, name: str, wanted: Asset) -> Path:
    """One upstream file, checked, as folder/name. Raises UserError."""
    import pooch
    import requests

    def checked(url: str, output: str, pooch_: object) -> None:
        label = wanted.name if len(wanted.sources) == 1 else f"{wanted.name}: {name}"
        pooch.HTTPDownloader(progressbar=Bar(label), chunk_size=1 << 16, timeout=TIMEOUT)(url, output, pooch_)
        if source.digest and not has_content(Path(output), source.digest):
            raise WrongContent

    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(folder, base_url="", registry={name: None}, urls={name: source.url}, retry_if_failed=RETRIES)
    try:
        return Path(store.fetch(name, downloader=checked))
    except WrongContent:
        raise UserError(
            f"{source.url} has not the pinned content ({source.digest}), so {wanted.name!r} was not brought: run "
            f"the same command again, or use a copy of {wanted.file} in a folder that {FOLDER} names"
        ) from None
    except (requests.RequestException, ValueError) as error:
        raise UserError(
            f"{source.url} cannot be had ({_reason(error)}), so {wanted.name!r} was not brought: check the network, "
            f"or use a copy of {wanted.file} in a folder that {FOLDER} names"
        ) from error


class WrongContent(ValueError):
    """A download that is whole but not what was pinned; pooch tries again after a ValueError."""


def _reason(error: BaseException) -> str:
    """A short reason: the server's status, or the innermost cause."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"status {status}"
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(str(error).split())[:120] or type(error).__name__


class Bar:
    """A progress bar on standard error, where that is a terminal, with the calls that pooch makes."""

    def __init__(self, label: str):
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(label, total=None)
        self._bars.start()

    @property
    def total(self) -> int:
        """Bytes expected; 0 where the server does not say."""
        return int(self._bars.tasks[0].total or 0)

    @total.setter
    def total(self, value: int) -> None:
        self._bars.update(self._task, total=value or None)

    def update(self, count: int) -> None:
        """So many bytes more."""
        self._bars.advance(self._task, count)

    def reset(self) -> None:
        """Back to no bytes."""
        self._bars.update(self._task, completed=0)

    def close(self) -> None:
        """The end."""
        self._bars.stop()


if __name__ == "__main__":
    run_main(main)
