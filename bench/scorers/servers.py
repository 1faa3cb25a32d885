"""Which scorers are on servers, as `--scorer-url NAME=URL` and the environment say. Asks nobody, and imports no
torch."""

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from bench.scorers.registry import SCORERS
from htgrpo.base.errors import UserError, shown

URLS = "HTGRPO_SCORER_URLS"
"""The environment variable that takes `--scorer-url NAME=URL` to worker processes: all of them, separated by blanks. It
may also be set by hand."""
TOKEN = "HTGRPO_SCORER_TOKEN"
"""The environment variable that holds the token, for servers and for clients: a command line can be read by others."""
MODEL = "UniGenBench"
"""The name under which UniGenBench's judge is to be served."""
HOW = (
    "NAME=http://HOST:PORT (ours), NAME=pickle+http://HOST:PORT (a reward-server), or unifiedreward or unigenbench, each as "
    "NAME=openai+http://HOST:PORT"
)


def use_servers(texts: Iterable[str]) -> None:
    """Makes this process and its children ask these servers (NAME=URL each). Raises UserError for a form that cannot
    be, and for a name given twice."""
    texts = list(texts)
    if texts:
        _by_name(texts)
        os.environ[URLS] = " ".join(texts)


def check_asked(texts: Iterable[str], asked: Iterable[str]) -> None:
    """Raises UserError where one of these servers (NAME=URL each) is of a scorer that is not among those `asked`."""
    asked = sorted(set(asked))
    for name in _by_name(texts):
        if name not in asked:
            raise UserError(
                f"--scorer-url names {name!r}, but what is asked here is {', '.join(asked) or 'no scorer'}: leave it "
                f"out, or ask {name} too, with --benchmarks or --reward"
            )


def servers() -> dict[str, str]:
    """NAME -> NAME=URL of the scorers that are asked on servers. Raises UserError as use_servers does."""
    return _by_name(os.environ.get(URLS, "").split())


def names() -> list[str]:
    """All scorers that can be asked for, sorted."""
    return sorted({*SCORERS.names(), *servers()})


def parts(text: str) -> tuple[str, str, str]:
    """(name, kind, URL) of NAME=URL, NAME=pickle+URL or NAME=openai+URL; kind is "", "pickle" or "openai". Raises
    UserError."""
    name, equals, address = text.partition("=")
    kind, _, url = address.partition("+") if "+" in address.partition("://")[0] else ("", "", address)
    if not (name and equals and url) or kind not in ("", "pickle", "openai") or len(text.split()) != 1:
        raise UserError(f"--scorer-url is {shown(text)}, but it takes {HOW}")
    try:
        return name, kind, check_url(url)
    except UserError as error:
        raise UserError(f"--scorer-url is {shown(text)}: {error.message}") from None


def check_url(url: str) -> str:
    """`url` without a trailing slash; raises UserError unless it is http(s)://host[:port][/path] without a password."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and not parts.query
        good = good and parts.port != 0 and url.isascii() and url.isprintable()  # .port raises ValueError
    except ValueError:
        good = False
    if not good:
        raise UserError(f"{shown(url)} is no address of a server: give http://HOST:PORT")
    return url.rstrip("/")


def _by_name(texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name = parts(text)[0]
        if name in found:
            raise UserError(f"--scorer-url names {name!r} twice: give one address each")
        found[name] = text
    return found
