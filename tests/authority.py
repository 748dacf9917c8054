"""Certificates for tests, with what trustme does not make: names of SPIFFE, weak keys and signatures, and lists of revoked ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
SHA1_WITH_RSA = bytes.fromhex("2a864886f70d010105")

HERE = ("127.0.0.1", "localhost")


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Make a key; the same number gives the same key again, for making one takes long."""
    del number
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )

    def write(self, folder: Path) -> None:
        """Put both into a folder, as `chain.pem` and `key.pem`."""
        put(folder / "chain.pem", self.pem)
        write_key(folder / "key.pem", self.key_pem)


class Authority:
    """Vouches for others."""

    def __init__(self, name: str = "authority of tests", key: int = 1) -> None:
        """Make the authority's own certificate."""
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = rsa_key(key)
        builder = _builder(self.name, self.name, self.key, -10.0, 1000.0)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(is_authority=True), critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The authority's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, *uris: str, names: Sequence[str] = HERE, begins: float = -1.0, ends: float = 100.0, key: rsa.RSAPrivateKey | None = None
    ) -> Leaf:
        """Issue a certificate that is valid between so many days from now."""
        own = key or rsa_key(2)
        return Leaf(certificate=_leaf(self.name, own, (*uris,), names, begins, ends).sign(self.key, hashes.SHA256()), key=own)

    def issue_by_sha1(self, *uris: str) -> Leaf:
        """Issue a certificate under a signature that is not safe any more, as no library does."""
        leaf = self.issue(*uris)
        whole, signed = leaf.certificate.public_bytes(serialization.Encoding.DER), leaf.certificate.tbs_certificate_bytes
        weak = signed.replace(SHA256_WITH_RSA, SHA1_WITH_RSA)
        signature = self.key.sign(weak, padding.PKCS1v15(), hashes.SHA1())
        whole = whole.replace(signed, weak).replace(SHA256_WITH_RSA, SHA1_WITH_RSA).replace(leaf.certificate.signature, signature)
        return Leaf(certificate=x509.load_der_x509_certificate(whole), key=leaf.key)

    def revoked(self, *leaves: Leaf) -> bytes:
        """Return the list of those that are revoked, in PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=30))
        for leaf in leaves:
            entry = x509.RevokedCertificateBuilder().serial_number(leaf.certificate.serial_number).revocation_date(now - timedelta(days=1))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def self_signed(*uris: str) -> Leaf:
    """Issue a certificate that nobody else vouches for."""
    key = rsa_key(3)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "myself")])
    return Leaf(certificate=_leaf(name, key, uris, HERE, -1.0, 100.0).sign(key, hashes.SHA256()), key=key)


def write_key(path: Path, pem: bytes) -> None:
    """Write a key as only its owner may read it."""
    put(path, pem, mode=0o600)


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file, or replace it whole: one that is written over within a tick of the clock looks as if it had not changed."""
    staged = path.with_name(f"{path.name}.new")
    staged.touch(mode=0o600)
    staged.write_bytes(content)
    staged.chmod(mode)
    staged.rename(path)


def _leaf(issuer: x509.Name, key: rsa.RSAPrivateKey, uris: Sequence[str], names: Sequence[str], *days: float) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    builder = _builder(subject, issuer, key, *days).add_extension(_usage(is_authority=False), critical=True)
    known: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    for name in names:
        is_address = name.replace(".", "").isdecimal()
        known.append(x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name))
    return builder.add_extension(x509.SubjectAlternativeName(known), critical=False)


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, begins: float, ends: float) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now + timedelta(days=begins)).not_valid_after(now + timedelta(days=ends))


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
