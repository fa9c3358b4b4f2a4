"""An authority and certificate files for tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from penstock_chassis.certificates import CertificateFiles, Certificates
from penstock_chassis.identity import Component, dns_name

DOMAIN = "penstock.internal"
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """Issues certificates into folders that look like mounted Secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()

    def issue(self, name: str, *, domain: str = DOMAIN, into: str = "", days: float = 30, trusting: "tuple[Authority, ...]" = ()) -> CertificateFiles:  # fmt: skip
        """Write a certificate of `name` that is valid from yesterday for `days` more days; a negative number: expired."""
        leaf = self.ca.issue_cert(
            f"{name}.{domain}", not_before=now() - max(DAY, DAY * (1 - days)), not_after=now() + DAY * days
        )
        files = files_in(self.folder / (into or name))
        files.chain.parent.mkdir(parents=True, exist_ok=True)
        files.chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        files.key.write_bytes(leaf.private_key_pem.bytes())
        files.authorities.write_bytes(b"".join(one.ca.cert_pem.bytes() for one in trusting or (self,)))
        return files

    def certificates(self, component: Component, **how) -> Certificates:
        files = self.issue(component.value, **how)
        return Certificates(files, dns_name(component, how.get("domain", DOMAIN)))


def files_in(folder: Path) -> CertificateFiles:
    return CertificateFiles(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")


def as_settings(files: CertificateFiles) -> dict[str, Path]:
    return {"tls_cert_file": files.chain, "tls_key_file": files.key, "tls_ca_file": files.authorities}
