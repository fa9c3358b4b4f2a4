"""Authorities and certificates: what is made is taken by the processes, and what is read back can be used."""

import contextlib
import ssl
import time
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from penstock_chassis.certificates import CertificateFiles, load
from penstock_operator.certificates import Terms
from penstock_operator.certificates_x509 import make_authority, make_leaf, read_authorities, read_leaf

TERMS = Terms()
NAME = "edge.penstock.gateway.penstock.internal"
DAY = 86_400
V3 = b"\xa0\x03\x02\x01\x02"
"""How a certificate says its version in DER."""


def now() -> float:
    return time.time()


def written(folder: Path, chain: bytes, key: bytes, authorities: bytes) -> CertificateFiles:
    files = CertificateFiles(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    for path, content in zip((files.chain, files.key, files.authorities), (chain, key, authorities), strict=True):
        path.write_bytes(content)
    return files


def test_a_process_takes_what_is_made(tmp_path: Path) -> None:
    authority = make_authority(now(), TERMS)
    chain, key = make_leaf("edge", NAME, authority, now(), TERMS)
    material = load(written(tmp_path, chain, key, authority.certificate), NAME)
    assert material.expires_at == pytest.approx(now() + 90 * DAY, abs=5)
    assert material.authorities_expire_at == pytest.approx(now() + 3650 * DAY, abs=5)


def test_a_process_takes_it_among_several_authorities(tmp_path: Path) -> None:
    old, new = make_authority(now(), TERMS), make_authority(now(), TERMS)
    chain, key = make_leaf("edge", NAME, new, now(), TERMS)
    load(written(tmp_path, chain, key, old.certificate + new.certificate), NAME)


def test_the_strictest_checks_pass(tmp_path: Path) -> None:
    authority = make_authority(now(), TERMS)
    chain, key = make_leaf("edge", NAME, authority, now(), TERMS)
    files = written(tmp_path, chain, key, authority.certificate)
    sides = []
    for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(side)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.authorities)
        context.load_cert_chain(files.chain, files.key)
        sides.append(context)
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sides[0].wrap_bio(one, other, server_hostname=NAME)
    server = sides[1].wrap_bio(other, one, server_side=True)
    for _ in range(3):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert client.version() == "TLSv1.3"


def test_what_certificates_say() -> None:
    authority = make_authority(now(), TERMS)
    root = x509.load_pem_x509_certificate(authority.certificate)
    leaf = x509.load_pem_x509_certificate(make_leaf("edge", NAME, authority, now(), TERMS)[0])
    limits = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    for one in (root, leaf):
        key = one.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
        assert one.not_valid_before_utc.timestamp() == pytest.approx(now() - 300, abs=5)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    other = x509.load_pem_x509_certificate(make_authority(now(), TERMS).certificate)
    assert other.subject != root.subject


def test_long_names_are_no_obstacle(tmp_path: Path) -> None:
    name = f"operator.{'r' * 42}.{'n' * 63}.penstock.internal"
    authority = make_authority(now(), TERMS)
    chain, key = make_leaf("operator", name, authority, now(), TERMS)
    load(written(tmp_path, chain, key, authority.certificate), name)


def test_a_certificate_ends_with_its_authority() -> None:
    short = make_authority(now() - 3649 * DAY, TERMS)
    chain, key = make_leaf("edge", NAME, short, now(), TERMS)
    leaf = read_leaf(chain, key, [short])
    assert leaf is not None
    assert leaf.not_after == short.not_after


def test_a_certificate_does_not_begin_before_its_authority() -> None:
    """Clocks that are behind may have it made so."""
    authority = make_authority(now(), TERMS)
    leaf = read_leaf(*make_leaf("edge", NAME, authority, now() - 1000, TERMS), [authority])
    assert leaf is not None
    assert leaf.not_before == authority.not_before


def test_without_the_authoritys_key_nothing_is_made() -> None:
    ((authority,), _) = read_authorities(make_authority(now(), TERMS).certificate)
    with pytest.raises(ValueError, match="not at hand"):
        make_leaf("edge", NAME, authority, now(), TERMS)


def test_what_was_made_is_read_back() -> None:
    old, new = make_authority(now(), TERMS), make_authority(now(), TERMS)
    assert read_authorities(new.certificate, new.key) == ((new,), True)
    both, whole = read_authorities(old.certificate + new.certificate, new.key)
    assert whole
    assert [one.fingerprint for one in both] == [old.fingerprint, new.fingerprint]
    assert [bool(one.key) for one in both] == [False, True]
    leaf = read_leaf(*make_leaf("edge", NAME, new, now(), TERMS), both)
    assert leaf is not None
    assert (leaf.issuer, leaf.names) == (new.fingerprint, {NAME})
    assert read_leaf(*make_leaf("edge", NAME, new, now(), TERMS), [old]).issuer == ""


def test_keys_are_not_shown() -> None:
    authority = make_authority(now(), TERMS)
    assert b"PRIVATE KEY" in authority.key
    assert "PRIVATE" not in repr(authority)


ONE = make_authority(now(), TERMS)
OTHER = make_authority(now(), TERMS)


@pytest.mark.parametrize(
    ("certificates", "keys", "found", "whole"),
    [
        (b"", b"", 0, True),
        (b"", ONE.key, 0, False),
        (b"nonsense", b"", 0, False),
        (ONE.certificate[:200], b"", 0, False),
        (ONE.certificate + b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", b"", 0, False),
        (make_leaf("edge", NAME, ONE, now(), TERMS)[0], b"", 0, False),
        (ONE.certificate, OTHER.key, 1, False),
        (ONE.certificate, b"nonsense", 1, False),
        (ONE.certificate + b"# a remark\n", b"", 1, True),
        (ONE.certificate + make_leaf("edge", NAME, ONE, now(), TERMS)[0], b"", 1, False),
    ],
)
def test_damaged_authorities(certificates: bytes, keys: bytes, found: int, whole: bool) -> None:
    read, good = read_authorities(certificates, keys)
    assert (len(read), good) == (found, whole)
    assert not any(one.key for one in read)


def pem_key(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_damaged_certificates() -> None:
    chain, key = make_leaf("edge", NAME, ONE, now(), TERMS)
    _, other_key = make_leaf("edge", NAME, ONE, now(), TERMS)
    for bad in ((b"", b""), (chain, b""), (b"", key), (chain[:300], key), (chain, other_key), (key, chain), (ONE.certificate, ONE.key)):  # fmt: skip
        assert read_leaf(*bad, [ONE]) is None
    assert read_leaf(chain, pem_key(ed25519.Ed25519PrivateKey.generate()), [ONE]) is None
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    assert read_leaf(chain, locked, [ONE]) is None


@pytest.mark.parametrize("version", [1, 3, 115])
def test_a_certificate_of_no_version_that_there_is_cannot_be_read(version: int) -> None:
    chain, key = make_leaf("edge", NAME, ONE, now(), TERMS)
    der = x509.load_pem_x509_certificate(chain).public_bytes(serialization.Encoding.DER)
    other = ssl.DER_cert_to_PEM_cert(der.replace(V3, V3[:-1] + bytes([version]), 1)).encode()
    assert read_leaf(other, key, [ONE]) is None
    assert read_authorities(ONE.certificate + other) == ((), False)


def test_a_certificate_for_servers_only_will_not_do() -> None:
    made = x509.load_pem_x509_certificate(make_leaf("edge", NAME, ONE, now(), TERMS)[0])
    key = ec.generate_private_key(ec.SECP256R1())
    narrow = (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(serialization.load_pem_private_key(ONE.key, None), hashes.SHA256())
    )
    assert read_leaf(narrow.public_bytes(serialization.Encoding.PEM), pem_key(key), [ONE]) is None


def test_an_authority_of_another_make_can_issue(tmp_path: Path) -> None:
    """Somebody may give us theirs by labelling it as ours."""
    for kind in (trustme.KeyType.RSA, trustme.KeyType.ECDSA):
        theirs = trustme.CA(key_type=kind)
        ((authority,), whole) = read_authorities(theirs.cert_pem.bytes(), theirs.private_key_pem.bytes())
        assert whole
        chain, key = make_leaf("edge", NAME, authority, now(), TERMS)
        load(written(tmp_path, chain, key, authority.certificate), NAME)
        assert read_leaf(chain, key, [authority]) is not None
