from __future__ import annotations

import secrets

import pytest

from conflux.discovery.mdns import MdnsDiscovery
from tests.discovery.forging import KEY, Stranger


@pytest.fixture
def cluster():
    """A name of its own: other tests may be on the same loopback LAN."""
    return f"test-{secrets.token_hex(8)}"


@pytest.fixture
def discover(cluster):
    """Nodes' discoveries on the loopback LAN, closed at the end."""
    opened = []

    def open_one(identity, *, address=None, fingerprint=KEY, name=cluster, loopback=True):
        address = address or f"10.77.0.{len(opened) + 1}:7420"
        discovery = MdnsDiscovery(
            cluster=name, fingerprint=fingerprint, identity=identity, address=address, loopback=loopback
        )
        opened.append(discovery)
        return discovery

    yield open_one
    for discovery in opened:
        discovery.close()


@pytest.fixture
def stranger():
    stranger = Stranger()
    yield stranger
    stranger.close()
