"""Who is where: members by identity, addresses by what their greetings say, frames to them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from conflux import limits
from conflux.discovery.interface import Discovery
from conflux.errors import OptionsError
from conflux.raft.messages import Envelope
from conflux.transport.address import Address
from conflux.transport.interface import Channel
from conflux.wire.frames import NO_CLUSTER, NOBODY
from conflux.wire.peers import PEERS, Founder, Hello

GREETING_SECONDS_FORMING = 0.05
GREETING_SECONDS_MISSING = 0.2  # while a member's address is not confirmed
GREETING_SECONDS = 2.0
PATIENCE_SECONDS = 3.0  # then it is said that nothing answers at an address
ADDRESSES_NAMED_MAX = 3


class Links:
    """One node's links to the others. An identity is who a node is, an address only where it was last heard."""

    def __init__(self, channel: Channel, own: Founder, discovery: Discovery, known: dict[str, str]) -> None:
        self.counts: Counter[str] = Counter()
        self.cluster_id = NO_CLUSTER
        self.addresses: dict[str, str] = dict(known)
        self.heard: set[str] = set()  # identities that greeted since this node is up
        self._channel = channel
        self._own = own
        self._discovery = discovery
        self._dialled: set[str] = set()
        self._untold: set[str] = set()  # dialled to be told something, and no link came about yet
        self._silent_since_s: dict[str, float] = {}  # dialled, and no link came about
        self._greeted_since_s: dict[str, float] = {}  # dialled, and our greetings are taken
        self.greets_at_s = 0.0  # when the next greeting is due
        self._greeted_s = 0.0
        for address in known.values():
            self.dial(address)

    @property
    def own_address(self) -> str:
        """What others dial to reach this node."""
        return self._channel.address

    def dial(self, address: str) -> None:
        """Keep a link to `address` from now on."""
        if address in self._dialled or address == self._channel.address or len(self._dialled) >= limits.PEERS_MAX:
            return
        self._dialled.add(address)
        self._channel.dial(address)

    def learn(self, hello: Hello) -> bool:
        """Note where a node is. True where that is news."""
        identity = hello.founder.identity
        self.heard.add(identity)
        before = self.addresses.get(identity)
        if before == hello.address:
            self.dial(hello.address)
            return False
        self.addresses[identity] = hello.address
        if before is not None and before not in self.addresses.values():
            self._hang_up(before)
        self.dial(hello.address)
        return True

    def expect(self, identity: str, address: str) -> None:
        """Someone says where a member may be; what it says itself counts for more."""
        is_news = identity not in self.addresses and identity != self._own.identity
        if address and is_news and len(self.addresses) < limits.PEERS_MAX:
            self.addresses[identity] = address
            self.dial(address)

    def confirmed(self) -> dict[str, str]:
        """Where nodes are that have said so themselves since this one is up."""
        return {identity: address for identity, address in self.addresses.items() if identity in self.heard}

    def cut_off(self, identity: str) -> None:
        """A node is a member no longer: its link is cut (J7)."""
        self.heard.discard(identity)
        address = self.addresses.pop(identity, None)
        if address is not None and address in self._dialled and address not in self.addresses.values():
            self._hang_up(address)

    def tell(self, hello: Hello, message: Any) -> None:
        """Say something to who has just greeted, though it is no member; at its next greeting, if no link is up yet."""
        self.dial(hello.address)
        frame = PEERS.encode_for_peer(
            message, cluster=self.cluster_id, sender=self._own.identity, receiver=hello.founder.identity
        )
        if self._channel.send(hello.address, frame):
            self._untold.discard(hello.address)
        elif len(self._untold) < limits.MEMBERS_MAX:
            self._untold.add(hello.address)

    def send(self, identity: str, message: Any, term: int = 0) -> bool:
        """Hand a message to a member. False: dropped."""
        address = self.addresses.get(identity)
        if address is None:
            self.counts["no address"] += 1
            return False
        frame = PEERS.encode_for_peer(
            message, cluster=self.cluster_id, sender=self._own.identity, receiver=identity, term=term
        )
        sent = self._channel.send(address, frame)
        if not sent:
            self.counts["dropped"] += 1
        return sent

    def send_raft(self, envelope: Envelope) -> None:
        """Hand a Raft message to its receiver; if it is lost the core will notice."""
        self.send(envelope.receiver, envelope.message, envelope.term)

    def greet(self, hello: Hello, address: str) -> bool:
        """Greet whoever is at `address`. False: there is no link."""
        frame = PEERS.encode_for_peer(hello, cluster=self.cluster_id, sender=self._own.identity, receiver=NOBODY)
        return self._channel.send(address, frame)

    def greet_all(self, hello: Hello, now_s: float, *, forming: bool, lonely: bool) -> None:
        """Greet everyone; again soon while someone is missing, else now and then, since addresses change."""
        pause_s = GREETING_SECONDS_FORMING if forming else GREETING_SECONDS_MISSING if lonely else GREETING_SECONDS
        self.greets_at_s = now_s + pause_s
        self._keep(self._discovery.addresses()[: limits.PEERS_MAX - limits.MEMBERS_MAX])
        self._greeted_s = now_s
        for address in sorted(self._dialled):
            noted, other = self._greeted_since_s, self._silent_since_s
            if not self.greet(hello, address):
                noted, other = other, noted
            noted.setdefault(address, now_s)
            other.pop(address, None)

    def forget(self, identities: list[str]) -> None:
        """These are gone, and were members of nothing: their addresses make room."""
        for identity in identities:
            self.addresses.pop(identity, None)
            self.heard.discard(identity)

    def remarks(self) -> list[str]:
        """What people should know of the network, a sentence each: where it keeps nodes apart, or a key does."""
        refusing = self._channel.refusing()
        silent = self._for_long(self._silent_since_s).difference(refusing)
        remarks = [*self._discovery.remarks(), *(f"{address} refuses our key" for address in refusing)]
        if unreached := self._discovery.unreached(silent):
            remarks.append(f"nothing answers at {_listed(unreached, peers=True)} (not up, or a firewall)")
        deaf_to = [] if self.heard else sorted(self._for_long(self._greeted_since_s))
        if deaf_to:
            here = _listed([self.own_address], peers=True)
            why = "a firewall, or a wrong --advertise"
            remarks.append(f"{_listed(deaf_to)} can be dialled, and nothing comes back to {here} ({why})")
        return remarks

    def _for_long(self, since_s: dict[str, float]) -> set[str]:
        return {address for address, began_s in since_s.items() if self._greeted_s - began_s >= PATIENCE_SECONDS}

    def _keep(self, discovered: list[str]) -> None:
        """Dial what discovery names, and hang up on whoever is neither named nor known: room for members stays."""
        wanted = {*discovered, *self.addresses.values(), *self._untold}
        for address in self._dialled - wanted:
            self._hang_up(address)
        for address in discovered:
            self.dial(address)

    def _hang_up(self, address: str) -> None:
        self._channel.hang_up(address)
        self._dialled.discard(address)
        self._silent_since_s.pop(address, None)
        self._greeted_since_s.pop(address, None)

    def greet_soon(self) -> None:
        """There is news to tell: greet at the next occasion."""
        self.greets_at_s = 0.0


def _listed(addresses: list[str], *, peers: bool = False) -> str:
    """A few addresses for people, with the port that nodes dial where that is what matters."""
    shown = addresses[:ADDRESSES_NAMED_MAX]
    if peers:
        shown = [_peers_port(address) for address in shown]
    more = len(addresses) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _peers_port(address: str) -> str:
    try:
        return Address.parse(address).peer_endpoint.removeprefix("tcp://")
    except OptionsError:
        return address
