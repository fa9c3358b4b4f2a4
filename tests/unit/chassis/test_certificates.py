"""Certificate files: what is taken into use, what is refused, and what is said about it."""

import shutil
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from penstock_chassis import certificates as module
from penstock_chassis.certificates import CertificateError, CertificateFiles, Certificates, load
from penstock_chassis.identity import Component
from tests.unit.chassis.certificate_files import Authority, files_in

NAME = "edge.penstock.internal"


def with_passphrase(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


def anew(pem: bytes, issuer: x509.Name | None, *usages: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    """The same certificate, to be signed by another, for these usages; without an issuer by itself."""
    leaf = x509.load_pem_x509_certificate(pem)
    return (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(issuer or leaf.subject)
        .public_key(leaf.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
        .add_extension(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )


def signed(builder: x509.CertificateBuilder, key: bytes) -> bytes:
    signer = serialization.load_pem_private_key(key, None)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def for_clients_only(authority: Authority, pem: bytes) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.ca.cert_pem.bytes()).subject
    return signed(anew(pem, issuer, ExtendedKeyUsageOID.CLIENT_AUTH), authority.ca.private_key_pem.bytes())


def self_signed(pem: bytes, key: bytes) -> bytes:
    usages = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    return signed(anew(pem, None, *usages), key)


def damage(files: CertificateFiles, how: str, authority: Authority) -> None:
    other = authority.issue("edge", into="other")
    match how:
        case "no certificate":
            files.chain.unlink()
        case "no authorities":
            files.authorities.unlink()
        case "half a certificate":
            files.chain.write_bytes(files.chain.read_bytes()[:400])
        case "an empty key":
            files.key.write_bytes(b"")
        case "half the authorities":
            files.authorities.write_bytes(files.authorities.read_bytes()[:400])
        case "another key":
            shutil.copy(other.key, files.key)
        case "a key with a passphrase":
            files.key.write_bytes(with_passphrase(files.key.read_bytes()))
        case "a strange authority":
            stranger = Authority(authority.folder / "stranger")
            shutil.copy(stranger.issue("edge").authorities, files.authorities)
        case "for clients only":
            files.chain.write_bytes(for_clients_only(authority, files.chain.read_bytes()))
        case "its own authority":
            files.chain.write_bytes(self_signed(files.chain.read_bytes(), files.key.read_bytes()))
            shutil.copy(files.chain, files.authorities)
        case "expired":
            authority.issue("edge", days=-1)
        case "another component":
            authority.issue("router", into="edge")
        case "another domain":
            authority.issue("edge", domain="staging.internal")
        case _:
            raise AssertionError(how)


DAMAGES = {
    "no certificate": "tls.crt cannot be read: No such file or directory",
    "no authorities": "ca.crt cannot be read",
    "half a certificate": "tls.key cannot be used",
    "an empty key": "cannot be used",
    "half the authorities": "ca.crt holds no authorities",
    "another key": "KEY_VALUES_MISMATCH",
    "a key with a passphrase": "cannot be used",
    "a strange authority": "peers would refuse the certificate",
    "for clients only": "unsuitable certificate purpose",
    "its own authority": "none of an authority",
    "expired": "certificate has expired",
    "another component": "names router.penstock.internal, not edge.penstock.internal",
    "another domain": "names edge.staging.internal, not edge.penstock.internal",
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def refused() -> float:
    return REGISTRY.get_sample_value("penstock_tls_readings_total", {"result": "refused"}) or 0.0


@pytest.mark.parametrize(("how", "said"), DAMAGES.items())
def test_there_is_no_beginning_with_bad_files(authority: Authority, how: str, said: str) -> None:
    files = authority.issue("edge")
    damage(files, how, authority)
    with pytest.raises(CertificateError, match=said):
        load(files, NAME)


@pytest.mark.parametrize("how", DAMAGES)
def test_the_last_good_pair_stays_and_the_refusal_is_told_once(authority: Authority, how: str) -> None:
    certificates = authority.certificates(Component.EDGE)
    good, before = certificates.material, refused()
    damage(files_in(authority.folder / "edge"), how, authority)
    with capture_logs() as lines:
        certificates.look()
        certificates.look()
    assert certificates.material is good
    assert [line["event"] for line in lines] == ["certificate_refused"]
    assert DAMAGES[how] in lines[0]["reason"]
    assert refused() == before + 1
    assert REGISTRY.get_sample_value("penstock_tls_files_refused") == 1
    authority.issue("edge")
    with capture_logs() as lines:
        certificates.look()
    assert [line["event"] for line in lines] == ["certificate_taken"]
    assert certificates.material.contents() != good.contents()
    assert REGISTRY.get_sample_value("penstock_tls_files_refused") == 0


def test_unchanged_files_are_not_taken_again(authority: Authority) -> None:
    certificates = authority.certificates(Component.EDGE)
    good = certificates.material
    certificates.look()
    assert certificates.material is good


def test_a_symlink_that_is_switched_is_a_rotation(authority: Authority) -> None:
    """A mounted Secret changes so."""
    authority.issue("edge", into="first", days=3)
    authority.issue("edge", into="second", days=9)
    data = authority.folder / "..data"
    data.symlink_to(authority.folder / "first")
    certificates = Certificates(files_in(data), NAME)
    assert days_left() == pytest.approx(3, abs=0.01)
    fresh = authority.folder / "..fresh"
    fresh.symlink_to(authority.folder / "second")
    fresh.rename(data)
    certificates.look()
    assert days_left() == pytest.approx(9, abs=0.01)


def days_left(of: str = "certificate") -> float:
    value = REGISTRY.get_sample_value("penstock_tls_days_until_expiry", {"of": of})
    assert value is not None
    return value


def test_one_that_expires_while_in_force_is_told_once(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = authority.certificates(Component.EDGE, days=2)
    assert days_left("authority") > 2
    later = time.time() + 3 * 86_400
    monkeypatch.setattr("penstock_chassis.certificates.time.time", lambda: later)
    with capture_logs() as lines:
        certificates.look()
        certificates.look()
    assert [line["event"] for line in lines] == ["certificate_expired"]
    assert days_left() == pytest.approx(-1, abs=0.01)


def test_the_key_is_not_shown(authority: Authority) -> None:
    material = authority.certificates(Component.EDGE).material
    assert b"PRIVATE KEY" in material.key
    assert "PRIVATE KEY" not in repr(material)


def test_files_that_change_while_they_are_read_are_read_again_later(authority, monkeypatch) -> None:
    """A chain of one reading and the key of another would not work together."""
    certificates = authority.certificates(Component.EDGE)
    good = certificates.material
    real = module._try_out

    def rotating(files: CertificateFiles):
        result = real(files)
        authority.issue("edge")
        return result

    authority.issue("edge")
    monkeypatch.setattr(module, "_try_out", rotating)
    with capture_logs() as lines:
        certificates.look()
    assert certificates.material is good
    assert lines[0]["reason"] == "the certificate files changed while they were read"
    monkeypatch.undo()
    certificates.look()
    assert certificates.material is not good
