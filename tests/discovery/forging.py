"""Raw mDNS packets, true and forged, on the loopback interface and nowhere else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText

from conflux.discovery.record import SERVICE_TYPE

GROUP, PORT = "224.0.0.251", 5353
RESPONSE = 0x8400
A, PTR, TXT, SRV, IN, UNIQUE = 1, 12, 16, 33, 1, 0x8001
KEY = "f00d"


def text(**strings: str) -> bytes:
    """A TXT record's data."""
    pairs = [f"{key}={value}".encode() for key, value in strings.items()]
    return b"".join(bytes([len(pair)]) + pair for pair in pairs)


def response(
    instance: str,
    *,
    cluster: str,
    key: str = KEY,
    host: str = "10.9.9.9",
    port: int = 6666,
    ttl: int = 120,
    version: str = "1",
    flush: bool = True,
) -> list[bytes]:
    """What a node of this name would send; anybody can."""
    name, server, kind = f"{instance}.{SERVICE_TYPE}", f"{instance}.local.", UNIQUE if flush else IN
    packet = DNSOutgoing(RESPONSE)
    packet.add_answer_at_time(DNSPointer(SERVICE_TYPE, PTR, IN, ttl, name), 0)
    packet.add_answer_at_time(DNSService(name, SRV, kind, ttl, 0, 0, port, server), 0)
    packet.add_answer_at_time(DNSText(name, TXT, kind, ttl, text(v=version, cluster=cluster, key=key)), 0)
    packet.add_answer_at_time(DNSAddress(server, A, kind, ttl, socket.inet_aton(host)), 0)
    return packet.packets()


class Stranger:
    """Somebody on the (loopback) LAN."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)

    def send(self, packets: list[bytes]) -> None:
        for packet in packets:
            self._socket.sendto(packet, (GROUP, PORT))

    def close(self) -> None:
        self._socket.close()


def wait_until(condition: Callable[[], object], seconds: float = 30, every: Callable[[], None] | None = None) -> None:
    """Until it holds. What is sent by multicast may be lost, so it may be sent again and again in between."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to hold"
        if every is not None:
            every()
        time.sleep(0.02)
