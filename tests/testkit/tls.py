"""Makes the throw-away certificates of the test kit.

tls.py ca DIRECTORY            ca.pem and ca.key
tls.py leaf DIRECTORY OUT IP   OUT/tls.pem and OUT/tls.key, signed by that CA, for one IP address
tls.py old DIRECTORY OUT IP    the same, expired
"""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)


def start(name, issuer, key, days, since=NOW):
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - datetime.timedelta(days=1))
        .not_valid_after(since + datetime.timedelta(days=days))
    )


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def write(path, key, certificate):
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def ca(directory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = named("Vizard test kit, trusted by nobody")
    certificate = (
        start(name, name, key, 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write(directory / "ca", key, certificate)


def leaf(directory, out, address, since=NOW):
    issuer_key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        start(named(address), issuer.subject, key, 30, since)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    write(out / "tls", key, certificate)


if sys.argv[1] == "ca":
    ca(pathlib.Path(sys.argv[2]))
else:
    since = NOW - datetime.timedelta(days=60 if sys.argv[1] == "old" else 0)
    leaf(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4], since)
