"""Unit tests open no socket; one that tests a socket asks for the fixture `socket_enabled`."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def no_sockets(request: pytest.FixtureRequest) -> None:
    if "socket_enabled" not in request.fixturenames:
        pytest_socket.disable_socket()
