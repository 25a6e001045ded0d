"""Addresses to listen on."""

from __future__ import annotations

import argparse
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self


class InvalidAddress(ValueError, argparse.ArgumentTypeError):
    """Not an address; the message names the text and the rule."""


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``HOST:PORT``, ``[IPV6]:PORT`` or ``PORT`` (of the loopback interface). Raises InvalidAddress."""
        host, _, port = text.rpartition(":")
        if not port.isdigit() or not 0 <= int(port) <= 65535:
            raise InvalidAddress(f"{text!r} is not HOST:PORT")
        return cls(host.strip("[]") or "127.0.0.1", int(port))


def check_free(address: Address) -> None:
    """Before anything slow is started. Raises ListenError."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error


def tls_context(certificate: Path, key: Path, clients: Path | None) -> ssl.SSLContext:
    """For a server with that certificate (chain) and key, in PEM. With ``clients``, the certificates of authorities,
    a client must have one of theirs. Raises ListenError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        files = ", ".join(str(file) for file in (certificate, key, clients) if file is not None)
        raise ListenError(f"no TLS with {files}: {error.strerror or error}") from error
    return context
