"""TLS towards upstreams: who is believed, what refusals are called, sessions."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import subprocess
import threading

import pytest
import trustme

from penstock_edge.upstream import (
    CertificateRefusedError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    UpstreamClient,
    parse_target,
)
from penstock_edge.upstream.connection import Connection
from tests.unit.edge.upstream.servers import OK, QUICK, Server, ask, at, context_for, fetch, names, request, says


def now():
    return dt.datetime.now(dt.UTC)


async def test_a_host_name_is_verified(authority, trusting):
    names(trusting, {"api.example": ["127.0.0.1"]})
    async with Server(says(OK), tls=context_for(authority, "api.example")) as server:
        assert await ask(trusting, at("api.example", server)) == (200, b"hello")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_in_the_certificate_is_verified(authority, trusting, host):
    async with Server(says(OK), tls=context_for(authority, host), host=host) as server:
        assert (await fetch(trusting, server))[1] == b"hello"


async def test_a_wildcard_covers_one_label(authority, trusting):
    names(trusting, {"a.example.com": ["127.0.0.1"], "a.b.example.com": ["127.0.0.1"]})
    async with Server(says(OK), tls=context_for(authority, "*.example.com")) as server:
        assert (await ask(trusting, at("a.example.com", server)))[0] == 200
        with pytest.raises(CertificateRefusedError):
            await ask(trusting, at("a.b.example.com", server))


REFUSED = {
    "expired": (("127.0.0.1",), {"not_after": now() - dt.timedelta(days=1)}),
    "not valid yet": (
        ("127.0.0.1",),
        {"not_before": now() + dt.timedelta(days=1), "not_after": now() + dt.timedelta(days=2)},
    ),
    "issued for another address": (("127.0.0.2",), {}),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_a_certificate_is_refused_by_name(authority, trusting, reason):
    hosts, options = REFUSED[reason]
    async with Server(says(OK), tls=context_for(authority, *hosts, **options)) as server:
        with pytest.raises(CertificateRefusedError, match=reason) as error:
            await fetch(trusting, server)
        assert (error.value.reason, error.value.sent) == (reason, False)
        assert server.requests == []
    assert trusting.open_connections() == 0


async def test_a_certificate_of_another_name_is_refused(authority, trusting):
    names(trusting, {"api.example": ["127.0.0.1"]})
    async with Server(says(OK), tls=context_for(authority, "other.example")) as server:
        with pytest.raises(CertificateRefusedError, match="issued for another name"):
            await ask(trusting, at("api.example", server))


async def test_an_unknown_authority_is_refused(trusting):
    async with Server(says(OK), tls=context_for(trustme.CA(), "127.0.0.1")) as server:
        with pytest.raises(CertificateRefusedError, match=r"unknown authority|self-signed"):
            await fetch(trusting, server)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_authorities_of_the_environment_are_believed(authority, ca_file, variable, monkeypatch, tmp_path, client):
    if variable == "SSL_CERT_FILE":
        monkeypatch.setenv(variable, str(ca_file))
    else:
        # OpenSSL finds authorities in a folder by the hash of their names.
        for name in hashed_names(ca_file):
            (tmp_path / name).symlink_to(ca_file)
        monkeypatch.setenv(variable, str(tmp_path))
    async with Server(says(OK), tls=context_for(authority, "127.0.0.1")) as server:
        assert (await fetch(client, server))[1] == b"hello"


def hashed_names(ca_file):
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash", "-in", ca_file], check=True, capture_output=True, text=True
    )
    return [f"{shown.stdout.strip()}.0"]


async def test_a_file_of_authorities_that_cannot_be_used_is_said_at_the_start(tmp_path):
    with pytest.raises(FileNotFoundError):
        UpstreamClient(ca_file=tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        UpstreamClient(ca_file=tmp_path / "empty.pem")


async def test_http_1_1_is_what_is_offered(authority, trusting):
    context = context_for(authority, "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    seen = []

    async def play(reader, writer, number):
        seen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(OK)
        return True

    async with Server(play, tls=context) as server:
        await fetch(trusting, server)
    assert seen == ["http/1.1"]


async def test_old_versions_of_tls_are_not_spoken(authority, trusting):
    context = context_for(authority, "127.0.0.1")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Server(says(OK), tls=context) as server:
        with pytest.raises(ConnectError):
            await fetch(trusting, server)


# Sessions


def counting(sessions):
    """Play: note whether each connection took up a session; one answer for each."""

    async def play(reader, writer, number):
        sessions.append(writer.get_extra_info("ssl_object").session_reused)
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        return True

    return play


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_new_connection_takes_up_the_last_session(authority, trusting, version):
    context = context_for(authority, "127.0.0.1")
    context.minimum_version = context.maximum_version = version
    sessions = []
    async with Server(counting(sessions), tls=context) as server:
        for _ in range(3):
            assert (await fetch(trusting, server))[1] == b"hello"
    assert sessions == [False, True, True]


async def test_a_session_is_taken_up_only_with_its_own_host(authority, trusting):
    names(trusting, {"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"]})
    sessions = []
    async with Server(counting(sessions), tls=context_for(authority, "a.example", "b.example")) as server:
        for name in ("a.example", "b.example", "a.example", "b.example"):
            await ask(trusting, at(name, server))
    assert sessions == [False, False, True, True]


async def test_a_certificate_is_checked_again_after_a_while(authority, trusting, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.tls._SESSION_SECONDS", 0.0)
    monkeypatch.setattr("penstock_edge.upstream.client._SWEEP_SECONDS", 0.05)
    sessions = []
    async with Server(counting(sessions), tls=context_for(authority, "127.0.0.1")) as server:
        await fetch(trusting, server)
        await asyncio.sleep(0.2)
        await fetch(trusting, server)
    assert sessions == [False, False]


async def test_a_server_that_forgot_its_sessions_is_spoken_to_all_the_same(authority, trusting):
    sessions = []
    names(trusting, {"api.example": ["127.0.0.1"]})
    port = None
    for _ in range(2):
        async with Server(counting(sessions), tls=context_for(authority, "api.example")) as server:
            target = at("api.example", server)
            assert await ask(trusting, target) == (200, b"hello")
            port = server.port
    assert sessions == [False, False]
    assert port


# Time and loss


async def test_a_handshake_that_hangs_ends_at_its_deadline(trusting):
    async def silent(reader, writer):
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with Server(says(OK)) as other:
        target = other.target._replace(
            origin=other.target.origin._replace(scheme="https", port=server.sockets[0].getsockname()[1])
        )
        with pytest.raises(DeadlineError) as error:
            await trusting.send(target, request(), QUICK._replace(connect=0.2))
    assert (error.value.phase, error.value.sent) == ("tls", False)
    assert trusting.open_connections() == 0
    await asyncio.sleep(0.01)
    server.close()


@pytest.mark.parametrize("goodbye", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_server_that_speaks_no_tls_is_named(trusting, goodbye):
    async def play(reader, writer):
        await reader.read(100)
        writer.write(goodbye)
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    async with Server(says(OK)) as other:
        target = other.target._replace(
            origin=other.target.origin._replace(scheme="https", port=server.sockets[0].getsockname()[1])
        )
        with pytest.raises(ConnectError):
            await trusting.send(target, request(), QUICK)
    assert trusting.open_connections() == 0
    await asyncio.sleep(0.01)
    server.close()


def hangs_up(listener, context, goodbye, notify):
    """Serve one request over TLS, then hang up without reading on."""
    accepted, _ = listener.accept()
    with context.wrap_socket(accepted, server_side=True) as spoken:
        spoken.recv(65536)
        spoken.sendall(OK)
        goodbye.wait(5)
        if notify:
            spoken.settimeout(0.05)
            with contextlib.suppress(OSError):
                spoken.unwrap()


@pytest.mark.parametrize("notify", [True, False])
async def test_a_request_that_crossed_the_goodbye_is_known_not_to_have_arrived(
    authority, trusting, monkeypatch, notify
):
    listener = socket.create_server(("127.0.0.1", 0))
    goodbye = threading.Event()
    context = context_for(authority, "127.0.0.1")
    thread = threading.Thread(target=hangs_up, args=(listener, context, goodbye, notify))
    thread.start()
    target = parse_target(f"https://127.0.0.1:{listener.getsockname()[1]}", allow_private=True)
    assert (await ask(trusting, target))[0] == 200
    monkeypatch.setattr(Connection, "alive", property(lambda _: True))
    goodbye.set()
    thread.join()
    # The loop has not turned since: it has not seen the goodbye when it speaks.
    call = await trusting.send(target, request(), QUICK)
    with pytest.raises(ConnectionLostError) as error:
        await call.head()
    # Where TLS's own goodbye (close_notify) is missing, the loop ends the connection before we can ask the kernel.
    assert (error.value.stale, error.value.sent) == (notify, not notify)
    listener.close()


async def test_a_connection_that_is_closed_waits_briefly_for_a_goodbye(authority, trusting, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.dialing._GOODBYE_SECONDS", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    closed = threading.Event()

    def says_nothing_more():
        accepted, _ = listener.accept()
        with context_for(authority, "127.0.0.1").wrap_socket(accepted, server_side=True) as spoken:
            spoken.recv(65536)
            spoken.sendall(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            raw = socket.socket(fileno=spoken.detach())
            with raw:
                raw.settimeout(2)
                while raw.recv(65536):
                    pass
                closed.set()

    thread = threading.Thread(target=says_nothing_more)
    thread.start()
    target = parse_target(f"https://127.0.0.1:{listener.getsockname()[1]}", allow_private=True)
    assert (await ask(trusting, target))[0] == 200
    assert await asyncio.to_thread(closed.wait, 1)
    thread.join()
    listener.close()
