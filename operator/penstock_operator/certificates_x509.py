"""Makes authorities and certificates, and reads them back as far as they can be used."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from penstock_operator.certificates import Authority, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_operator.certificates import Terms

_USAGES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
# What was verified once need not be again at every look. Certificates are public; keys are not kept here.
_REMEMBERED: Final = 64
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
# What reading damaged bytes raises; parts of a certificate are parsed only when they are asked for.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def make_authority(now: float, terms: Terms) -> Authority:
    """Return a new authority that signs certificates and no other authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Old and new authority stand side by side in bundles, so their names differ.
    name = _name(f"penstock authority {identifier.digest.hex()[:16]}")
    certificate = (
        _valid(now - terms.skew_seconds, now + terms.authority_seconds)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _authority(certificate, _pem(key))


def make_leaf(component: str, name: str, issuer: Authority, now: float, terms: Terms) -> tuple[bytes, bytes]:
    """Return the certificate and the key of a component, PEM; the certificate does not outlive its issuer."""
    signer = _key(issuer.key)
    if signer is None:
        raise ValueError("the authority's key is not at hand")
    authority = x509.load_pem_x509_certificate(issuer.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    not_before = max(now - terms.skew_seconds, issuer.not_before)
    certificate = (
        _valid(not_before, min(now + terms.leaf_seconds, issuer.not_after))
        .subject_name(_name(component))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issued_by(authority), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)


def read_authorities(certificates: bytes, keys: bytes = b"") -> tuple[tuple[Authority, ...], bool]:
    """Return the authorities of a PEM file, with the key for the one it fits, and whether all could be read."""
    if not certificates.strip():
        return (), not keys.strip()
    try:
        found = x509.load_pem_x509_certificates(certificates)
    except _UNREADABLE:
        return (), False
    good = [one for one in found if _signs_itself(one)]
    key = _key(keys)
    read = tuple(_authority(one, keys if key and one.public_key() == key.public_key() else b"") for one in good)
    return read, len(good) == len(found) and (not keys.strip() or any(one.key for one in read))


def read_leaf(certificate: bytes, key: bytes, issuers: Iterable[Authority]) -> Leaf | None:
    """Return a certificate that serves servers and clients, with the one of `issuers` that signed it; else None."""
    try:
        found, holder = x509.load_pem_x509_certificate(certificate), _key(key)
        if holder is None or found.public_key() != holder.public_key() or not _serves_both(found):
            return None
        names = _names(found)
    except _UNREADABLE:
        return None
    signer = next((one.fingerprint for one in issuers if _signed(one.certificate, found)), "")
    return Leaf(signer, names, found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


def _serves_both(leaf: x509.Certificate) -> bool:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not set(_USAGES) <= set(usages):
            return False
    except x509.ExtensionNotFound:
        pass
    return not _is_authority(leaf)


def _names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        held = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(str(one.value) for one in held)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


@lru_cache(maxsize=_REMEMBERED)
def _signs_itself(certificate: x509.Certificate) -> bool:
    """Whether peers would take it for an authority."""
    try:
        certificate.verify_directly_issued_by(certificate)
        return _is_authority(certificate)
    except (InvalidSignature, *_UNREADABLE):
        return False


@lru_cache(maxsize=_REMEMBERED)
def _signed(authority: bytes, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _authority(certificate: x509.Certificate, key: bytes) -> Authority:
    return Authority(
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key,
    )


def _issued_by(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Name the authority by the identifier it bears: one that we did not make may have computed it in another way."""
    try:
        borne = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = authority.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise TypeError("not a kind of key that authorities here have") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(borne)


def _valid(not_before: float, not_after: float) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(math.floor(not_before), UTC))
        .not_valid_after(datetime.fromtimestamp(math.ceil(not_after), UTC))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key(pem: bytes) -> _PrivateKey | None:
    """Return a key that TLS libraries take for servers and clients, None for anything else."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except _UNREADABLE:
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
