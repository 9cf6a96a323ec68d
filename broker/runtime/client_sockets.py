"""Sockets for outgoing connections whose descriptors only the event loop closes.

aiohttp connects a socket and gives it to the event loop for the TLS handshake. If the handshake
cannot begin, most often because the server has reset the connection, uvloop 0.23 closes the
descriptor, but the socket object still has its number. When Python then collects that object, it
closes the number once more. By then it may be of another connection, which breaks, or gets the
bytes of a third one.
"""

from __future__ import annotations

import ssl
from socket import socket

import aiohttp


class ClientSocket(socket):
    """A socket that leaves its descriptor alone when it is collected."""

    def __del__(self) -> None:
        self.detach()


def open_socket(address: aiohttp.AddrInfoType) -> socket:
    """Open a socket for one of the addresses of a server, as ``aiohttp.TCPConnector`` wants it."""
    family, kind, protocol, _name, _address = address
    return ClientSocket(family, kind, protocol)


def open_connector(tls: ssl.SSLContext | bool = True) -> aiohttp.TCPConnector:
    """Return what makes the connections of an ``aiohttp.ClientSession``.

    Args:
        tls: What is asked of the certificates of servers; True for what Python trusts.
    """
    return aiohttp.TCPConnector(ssl=tls, socket_factory=open_socket)
