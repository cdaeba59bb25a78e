"""TLS of the node: towards those who send to it, and towards destinations."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from tumorlens.errors import SettingsError


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a client; all may lack: then the authorities of the system are trusted."""

    ca: Path | None = None  # authority of the other side
    certificate: Path | None = None  # our own, where the other side asks for one
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what a client needs; the name of the other side is checked.

        Raises SettingsError for files that do not fit.
        """
        if (self.certificate is None) != (self.key is None):
            fix = "Name a certificate and its key."
            raise SettingsError(self.certificate or self.key or "", "lacks its counterpart", fix)
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as e:
            fix = "Name PEM files: the authority of the receiver, our certificate and its key."
            raise _unusable(self.ca or self.certificate, e, fix) from e
        return context


def server_context(certificate: Path, key: Path, clients: Path | None) -> ssl.SSLContext:
    """Return what a server needs for TLS 1.2 or later; with `clients` their certificates are asked.

    Raises SettingsError for files that do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as e:
        fix = "Name PEM files: certificate, its key, and the authority of the clients."
        raise _unusable(certificate, e, fix) from e
    return context


def _unusable(file: Path | None, error: Exception, fix: str) -> SettingsError:
    return SettingsError(file or "TLS", f"cannot be used for TLS ({error})", fix)
