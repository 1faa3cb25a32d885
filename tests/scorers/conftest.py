"""What tests of several scorers' clients share."""

import pytest

from bench.scorers.serving import ScoringServer
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
