"""Certificates for TLS servers in tests, signed by an authority made for them."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; its own one is ``ca.pem`` in a folder.

    Args:
        folder: For the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("KubeFox test authority")
        builder = _builder(self._name, self._name, self._key, _DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        name: str,
        *hosts: str,
        key: PrivateKey | None = None,
        lifetime: datetime.timedelta = _DAY,
    ) -> tuple[Path, Path]:
        """Write a certificate and its key; return the files ``NAME.pem`` and ``NAME.key``.

        Args:
            name: Of the files and of the subject.
            hosts: Names and addresses that it is for; the loopback addresses if there is none.
            key: A new one if it is not given.
            lifetime: From now on.
        """
        own = key or ec.generate_private_key(ec.SECP256R1())
        names = hosts or ("localhost", "127.0.0.1", "::1")
        builder = _builder(_name(name), self._name, own, lifetime).add_extension(
            x509.SubjectAlternativeName([_host(host) for host in names]), critical=False
        )
        files = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        replace(files[0], _pem(builder.sign(self._key, hashes.SHA256())))
        replace(files[1], _key_pem(own))
        return files

    def client_context(self) -> ssl.SSLContext:
        """Return a context that believes this authority alone."""
        return ssl.create_default_context(cafile=str(self.file))


def replace(file: Path, content: bytes) -> None:
    """Write a private file in one step, as a tool that renews certificates does."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(file)


def rsa_key() -> rsa.RSAPrivateKey:
    """Return a new RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def serial_of(der: bytes | None) -> int:
    """Return the serial number of a certificate."""
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial_in(file: Path) -> int:
    """Return the serial number of the certificate in a file."""
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + lifetime)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
