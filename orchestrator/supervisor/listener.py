"""The API's socket. The supervisor owns it, so that a restarted API answers where clients already wait."""

import errno
import socket

from models.errors import ConflictError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConflictError when the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise ConflictError(f"The API cannot listen on {host}:{port}: {_why(error)}") from error
    server.listen(2048)
    return server


def url_of(server: socket.socket) -> str:
    """Where clients on this machine reach it: a wildcard address is shown as the loopback one."""
    host, port = server.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken. Stop what listens there, or give another --port (0 finds a free one)"
    if error.errno == errno.EACCES:
        return "ports below 1024 need more rights. Give a --port above that"
    return f"{error.strerror}. Give an address of this machine as --host"
