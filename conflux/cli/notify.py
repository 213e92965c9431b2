"""Tells systemd how a service is, if it asked (`Type=notify`): a datagram to the socket that it named."""

from __future__ import annotations

import os
import socket


def tell_service_manager(state: str) -> None:
    """Send `state` ("READY=1", "STOPPING=1", "STATUS=…"); nothing where nobody asked. See sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect(address)
            manager.send(state.encode())
    except OSError:
        pass  # nobody listens any more: the service runs all the same
