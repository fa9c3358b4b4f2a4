import contextlib
import socket

import pytest

from penstock_cli.errors import CommandError
from penstock_cli.local import ports


def listening(*options):
    listener = socket.socket()
    for option in options:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_a_taken_port_is_found_also_when_it_could_be_shared(options):
    waits = []
    with listening(*options) as other, pytest.raises(CommandError, match=r"is taken.*--port") as caught:
        ports.take("127.0.0.1", ports.number(other), "--port", wait=waits.append)
    assert str(ports.number(other) if other.fileno() >= 0 else "") in str(caught.value)
    assert 0.9 < sum(waits) < 1.2


def test_a_reserved_port_lets_those_in_who_share():
    with ports.take("127.0.0.1", 0, "--port") as reserved:
        port = ports.number(reserved)
        with pytest.raises(CommandError):
            ports.take("127.0.0.1", port, "--port", wait=lambda _: None)
        with socket.socket() as edge:
            edge.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            edge.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            edge.bind(("127.0.0.1", port))
            edge.listen()
            # The reserving socket does not listen, so every connection comes to the edge.
            for _ in range(8):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                edge.accept()[0].close()


def test_a_port_that_becomes_free_is_taken():
    other = listening()
    with ports.take("127.0.0.1", ports.number(other), "--port", wait=lambda _: other.close()) as mine:
        assert mine.fileno() > 0


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_of_another_machine_is_told(host):
    with pytest.raises(CommandError, match=host):
        ports.take(host, 8080, "--port", wait=lambda _: None)


def test_no_port_is_reserved_twice():
    with contextlib.ExitStack() as held:
        taken = [ports.number(held.enter_context(ports.take("127.0.0.1", 0, "--port"))) for _ in range(50)]
        assert len(set(taken)) == 50


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("box", "box")],
)
def test_hosts_in_urls(host, shown):
    assert ports.reachable(host) == shown


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", ".", "no-such-name.invalid"])
def test_a_host_that_is_none_is_told(host):
    with pytest.raises(CommandError, match="is not an address of this machine"):
        ports.take(host, 0, "--port")
