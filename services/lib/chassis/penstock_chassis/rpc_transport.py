"""How one process speaks gRPC with its siblings: Unix sockets, mutual TLS, or plain text where that is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from penstock_chassis import logs, rpc
from penstock_chassis.authorisation import Guard
from penstock_chassis.certificates import CertificateError, CertificateFiles, Certificates
from penstock_chassis.identity import Component, dns_name
from penstock_chassis.process import StartError

if TYPE_CHECKING:
    import grpc.aio

    from penstock_chassis.rpc_settings import RpcSettings

log = logs.get(__name__)


class Transport:
    """Opens the channels and the server of `component`. Raises StartError when the settings cannot be obeyed."""

    def __init__(self, component: Component, settings: RpcSettings) -> None:
        self._settings = settings
        self._certificates = _certificates(component, settings)

    def channel(self, address: str, to: Component) -> grpc.aio.Channel:
        """Open a channel to `unix:/path` or `host:port`, where nobody but `to` is believed. Raises StartError."""
        if self._certificates is None or rpc.is_unix(address):
            self._see_that_plaintext_will_do(address)
            return rpc.channel(address)
        return rpc.secure_channel(address, self._certificates, dns_name(to, self._settings.tls_domain))

    def server(self, address: str, *, max_connection_age_seconds: float) -> rpc.RpcServer:
        """Make the server; over TCP with certificates it asks for the caller's. Raises StartError."""
        if self._certificates is None or rpc.is_unix(address):
            self._see_that_plaintext_will_do(address)
            return rpc.RpcServer(address, max_connection_age_seconds=max_connection_age_seconds)
        return rpc.RpcServer(
            address,
            max_connection_age_seconds=max_connection_age_seconds,
            credentials=self._certificates.server_credentials(),
            interceptors=(Guard(self._settings.tls_domain),),
        )

    async def run(self) -> None:
        """Follow the certificate's files until cancelled; without certificates, only wait."""
        if self._certificates is None:
            await asyncio.Event().wait()
        else:
            await self._certificates.run(self._settings.tls_poll_seconds)

    def _see_that_plaintext_will_do(self, address: str) -> None:
        if rpc.is_unix(address):
            return
        if not self._settings.insecure_plaintext:
            raise StartError(
                f"{address} would be spoken to in plain text: give tls_cert_file, tls_key_file and tls_ca_file, "
                "use a unix: address, or set insecure_plaintext=true where nobody else can reach it"
            )
        log.warning("insecure_plaintext", address=address)


def _certificates(component: Component, settings: RpcSettings) -> Certificates | None:
    chain, key, authorities = settings.tls_cert_file, settings.tls_key_file, settings.tls_ca_file
    if chain is None and key is None and authorities is None:
        return None
    if chain is None or key is None or authorities is None:
        raise StartError("tls_cert_file, tls_key_file and tls_ca_file go together: give all three or none")
    if settings.insecure_plaintext:
        raise StartError("insecure_plaintext contradicts tls_cert_file: give one or the other")
    try:
        return Certificates(CertificateFiles(chain, key, authorities), dns_name(component, settings.tls_domain))
    except CertificateError as error:
        raise StartError(str(error)) from error
