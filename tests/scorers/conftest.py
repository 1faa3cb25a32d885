"""What tests of several scorers' clients share."""

from pathlib import Path

import pytest

from bench import fetch
from bench.scorers.serving import ScoringServer
from bench.sources import assets
from tests.scorers.brightness import Brightness
from tests.scorers.servers import Canned, running


@pytest.fixture
def canned():
    """A server that answers as it is told."""
    with running(Canned()) as server:
        yield server


@pytest.fixture
def brightness_server():
    """A server of Brightness."""
    with running(ScoringServer(Brightness())) as one:
        yield one


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """Where assets are brought to: an empty cache, no folder of assets, no proxies, no waiting between attempts."""
    monkeypatch.setenv(assets.CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(assets.FOLDER, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch, "RETRIES", 0)
    return tmp_path / "cache" / "assets"
