"""A process's own certificate: read from files, tried out before it is used, and followed when the files change."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from penstock_chassis import logs, rpc_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logs.get(__name__)

_DAY_SECONDS: Final = 86_400.0
# A TLS handshake takes two turns of either side; more means that it will never end.
_HANDSHAKE_TURNS: Final = 6


class CertificateError(Exception):
    """The files cannot be used. The message says why and quotes nothing of them."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificate chain, its key and the authorities are."""

    chain: Path
    key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class Material:
    """What the three files held when they were last good; times are Unix seconds."""

    chain: bytes
    key: bytes = field(repr=False)
    authorities: bytes
    expires_at: float
    authorities_expire_at: float

    def contents(self) -> tuple[bytes, bytes, bytes]:
        """Return the three files' contents."""
        return self.chain, self.key, self.authorities

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return it as a gRPC server takes it. gRPC consumes what it is given: make a new one each time."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authorities)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return it as a gRPC channel takes it."""
        return grpc.ssl_channel_credentials(self.authorities, self.key, self.chain)


def load(files: CertificateFiles, name: str) -> Material:
    """Read the files and see that a peer would accept them, and that they name `name`. Raises CertificateError."""
    contents = _read(files)
    presented, authorities_expire_at = _try_out(files)
    if _read(files) != contents:
        raise CertificateError("the certificate files changed while they were read")
    names = [value for kind, value in presented.get("subjectAltName", ()) if kind == "DNS"]
    if name not in {one.lower() for one in names}:
        raise CertificateError(f"the certificate {files.chain} names {', '.join(names) or 'nobody'}, not {name}")
    return Material(*contents, ssl.cert_time_to_seconds(presented["notAfter"]), authorities_expire_at)


class Certificates:
    """The certificate in force. Raises CertificateError when there is none to begin with."""

    def __init__(self, files: CertificateFiles, name: str) -> None:
        self._files = files
        self._name = name
        self._refused = ""
        self._expired = False
        self.material = load(files, name)
        """What new connections are to be made with; swapped whole."""
        rpc_metrics.DAYS_LEFT.labels("certificate").set_function(lambda: self._days(self.material.expires_at))
        rpc_metrics.DAYS_LEFT.labels("authority").set_function(lambda: self._days(self.material.authorities_expire_at))

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials of a server that asks for the certificate in force at each new connection."""
        return grpc.dynamic_ssl_server_credentials(
            self._server_configuration(), self._server_configuration, require_client_authentication=True
        )

    async def run(self, poll_seconds: float) -> None:
        """Follow the files until cancelled."""
        while True:
            await asyncio.sleep(poll_seconds)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take the files' contents into use if they are new and good; else what is in force stays."""
        try:
            if _read(self._files) != self.material.contents():
                self.material = load(self._files, self._name)
                rpc_metrics.READINGS.labels("taken").inc()
                log.info("certificate_taken", days_left=round(self._days(self.material.expires_at), 2))
        except CertificateError as error:
            self._refuse(str(error))
        else:
            self._refused = ""
            rpc_metrics.FILES_REFUSED.set(0)
        self._say_if_expired()

    def _server_configuration(self) -> grpc.ServerCertificateConfiguration:
        return self.material.server_configuration()

    def _refuse(self, reason: str) -> None:
        rpc_metrics.FILES_REFUSED.set(1)
        if reason == self._refused:
            return
        self._refused = reason
        rpc_metrics.READINGS.labels("refused").inc()
        days = round(self._days(self.material.expires_at), 2)
        log.warning("certificate_refused", reason=reason, going_on_with="the one before", days_left=days)

    def _say_if_expired(self) -> None:
        expired = self._days(self.material.expires_at) <= 0
        if expired and not self._expired:
            log.error("certificate_expired", file=str(self._files.chain))
        self._expired = expired

    @staticmethod
    def _days(until: float) -> float:
        return (until - time.time()) / _DAY_SECONDS


def _read(files: CertificateFiles) -> tuple[bytes, bytes, bytes]:
    try:
        return files.chain.read_bytes(), files.key.read_bytes(), files.authorities.read_bytes()
    except OSError as error:
        raise CertificateError(f"{error.filename} cannot be read: {error.strerror}") from error


def _try_out(files: CertificateFiles) -> tuple[Mapping[str, Any], float]:
    """Shake hands with ourselves in memory, each side proving itself with the files, as peers will do it.

    Returns what was presented, and when the last of the authorities expires.
    """
    try:
        near, far = _context(files, ssl.PROTOCOL_TLS_CLIENT), _context(files, ssl.PROTOCOL_TLS_SERVER)
        presented = _shake_hands(near, far)
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(f"peers would refuse the certificate {files.chain}: {error.verify_message}") from error
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "it is not what it should be"
        raise CertificateError(f"{files.chain} with {files.key} cannot be used: {reason}") from error
    except OSError as error:
        raise CertificateError(f"the certificate files cannot be read: {error.strerror}") from error
    ends = [ssl.cert_time_to_seconds(str(row["notAfter"])) for row in near.get_ca_certs()]
    if not ends:
        raise CertificateError(f"{files.authorities} holds certificates, but none of an authority")
    return presented, max(ends)


def _context(files: CertificateFiles, side: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(files.authorities)
    except ssl.SSLError as error:
        raise CertificateError(f"{files.authorities} holds no authorities that can be read") from error
    # Without a password here, OpenSSL would ask for one on the terminal.
    context.load_cert_chain(files.chain, files.key, password="-")  # noqa: S106 -- not a secret: see above
    return context


def _shake_hands(near: ssl.SSLContext, far: ssl.SSLContext) -> Mapping[str, Any]:
    to_near, to_far = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = near.wrap_bio(to_near, to_far)
    server = far.wrap_bio(to_far, to_near, server_side=True)
    waiting = [client, server]
    for _ in range(_HANDSHAKE_TURNS):
        for side in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                waiting.remove(side)
    presented = client.getpeercert()
    if waiting or not presented:
        raise CertificateError("the certificate does not complete a handshake")
    return presented
