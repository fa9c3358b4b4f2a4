"""How a process is told to speak gRPC: with which certificate, and whom to believe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from penstock_chassis.settings import ProcessSettings


class RpcSettings(ProcessSettings, frozen=True, kw_only=True):
    """Settings of a process that serves gRPC or calls others. The three files are given together or not at all."""

    tls_cert_file: Path | None = None
    """This process's certificate chain, PEM, for both server and client authentication. Read anew when it changes."""
    tls_key_file: Path | None = None
    """Its private key, PEM, without a passphrase."""
    tls_ca_file: Path | None = None
    """The authorities that sign the certificates of all processes, PEM; old and new ones while they are exchanged."""
    tls_domain: Annotated[str, Meta(min_length=1)] = "penstock.internal"
    """What follows a component's name in the certificates' DNS names: `edge.penstock.internal`.

    Releases that share an authority need domains of their own, or one's edges could call the other's router.
    """
    tls_poll_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """How often the three files are looked at."""
    insecure_plaintext: bool = False
    """Speak plain text over TCP, to anybody. Without this and without certificates only Unix sockets will do."""
