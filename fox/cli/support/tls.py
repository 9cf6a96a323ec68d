"""TLS of the connection to the control API: which certificates are believed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from fox.data_dir import CERTIFICATE_FILE
from kubefox.errors import InvalidRequest

CA_VARIABLE = "FOX_CONTROL_CA"


def given_context() -> ssl.SSLContext:
    """Return the context for a given URL: authorities of the system, or of FOX_CONTROL_CA alone.

    Raises:
        InvalidRequest: The file cannot be used.
    """
    file = os.environ.get(CA_VARIABLE, "")
    try:
        return _context(ssl.create_default_context(cafile=file or None))
    except OSError as error:
        raise InvalidRequest(
            f"{CA_VARIABLE}={file} cannot be used: {error.strerror or error}: expected a file with "
            "certificates in PEM form"
        ) from error


def folder_context(folder: Path) -> ssl.SSLContext:
    """Return the context for the platform of a data folder: it believes its certificate alone.

    The names in the certificate do not matter: the folder, which only its user can write, says
    that this certificate is the platform's.

    Raises:
        InvalidRequest: The certificate in the folder cannot be used.
    """
    file = folder / CERTIFICATE_FILE
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The certificate itself is believed, not the authority that may have issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=file)
    except OSError as error:
        raise InvalidRequest(
            f"{file} cannot be used: {error.strerror or error}: start the platform again, or name "
            f"it with --control-url and {CA_VARIABLE}"
        ) from error
    return _context(context)


def reason_of(error: ssl.SSLError) -> str:
    """Return why a connection was refused, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{error.verify_message}: set {CA_VARIABLE} to a file with the certificate of the "
            "authority that has issued its certificate"
        )
    if error.reason in {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}:
        return "it does not speak TLS, so nothing was sent"
    return str(error)


def _context(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
