"""Telling the service manager: sd_notify(3), without its library."""

import socket


def notify(address: str, state: str) -> None:
    """Send `state` ("READY=1") to NOTIFY_SOCKET's address; a manager that is gone is no error."""
    if not address.startswith(("/", "@")):
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(state.encode("ascii"), name)
        except OSError:
            return
