"""TLS towards upstreams: whom we believe, what a refusal is called, and sessions that are taken up again."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Taking up a session skips the certificate's check; after this long it is due again.
_SESSION_SECONDS = 3600.0
_MOST_SESSIONS = 1024

# X509_V_ERR_... of OpenSSL's x509_vfy.h.
_REASONS = {
    9: "not valid yet",
    10: "expired",
    18: "self-signed",
    19: "unknown authority",
    20: "unknown authority",
    21: "unknown authority",
    23: "revoked",
    62: "issued for another name",
    64: "issued for another address",
}


class UpstreamContext(ssl.SSLContext):
    """A client's context that takes up the last session with a host.

    The loops' own TLS (asyncio's and uvloop's) calls `wrap_bio` without a session, so the context adds it.
    """

    def __init__(self, _protocol: int) -> None:
        self._sessions: dict[str, tuple[float, ssl.SSLSession]] = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin TLS over two buffers, with the session that is kept for the host if there is one."""
        if session is None and isinstance(server_hostname, str):
            _, session = self._sessions.get(server_hostname, (0.0, None))
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def keep(self, host: str, made: ssl.SSLObject, now: float) -> None:
        """Keep a connection's session for the next ones; call it when an answer has come: TLS 1.3 sends tickets late.

        Reading a session costs as much as half a handshake (CPython copies it through ASN.1), so that of a whole
        handshake serves until the upstream does not take it up any more.
        """
        if made.session_reused:
            return
        session = made.session
        if session is None or (made.version() == "TLSv1.3" and not session.has_ticket):
            return
        self._sessions.pop(host, None)
        self._sessions[host] = (now, session)
        if len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def forget_old(self, now: float) -> None:
        """Drop the sessions whose certificates are to be checked again."""
        for host in [host for host, (began, _) in self._sessions.items() if now - began > _SESSION_SECONDS]:
            del self._sessions[host]

    def forget(self, host: str) -> None:
        """Drop a host's session: the next handshake is a whole one."""
        self._sessions.pop(host, None)


def make_context(ca_file: Path | None) -> UpstreamContext:
    """Return a context that believes the file's authorities, else the system's (SSL_CERT_FILE and SSL_CERT_DIR).

    Raises OSError or ssl.SSLError when the file cannot be used.
    """
    context = UpstreamContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=str(ca_file))
    return context


def refusal(error: ssl.SSLCertVerificationError) -> str:
    """Return what is wrong with a certificate, in two or three words."""
    return _REASONS.get(error.verify_code, "not valid")
