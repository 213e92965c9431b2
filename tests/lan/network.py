"""A LAN of real hosts on one machine: network namespaces at a bridge, with multicast, cables to pull and rules to drop.

    from tests.lan.network import Lan

    with Lan(hosts=6) as lan:
        *nodes, client = lan.hosts
        for host in nodes:
            host.popen(["conflux", "start", "--cluster-size", "5", "--local", "1", "--key", "cluster.key"], stdout=PIPE)
        client.run(["conflux", "perform", "append", "foo", "--key", "cluster.key"])
        lan.split(nodes[:2])                # two sides that do not hear each other; whoever isn't named is on the other
        lan.heal()
        nodes[0].drops_from(nodes[1])       # one way: what nodes[1] sends to nodes[0] is lost in silence
        nodes[2].deaf()                     # one way: it sends, and nothing arrives
        nodes[3].unplug()                   # no carrier: its own interface goes down
        nodes[4].move("10.77.0.99")         # another address; what was bound to the old one is cut off

Whatever happens, leaving the block kills what runs inside the namespaces and removes them. Nothing of it is in the
machine's own namespace, the bridge neither, so there is nothing to clash with and nothing to clean up but names.

What holds here is plain Linux: namespaces, veth, bridge, policy rules; neither nft, iptables nor tc is needed, which
not every sandbox has (`tests/lan/nat.py` uses nft where it is). There is no delay and no random loss: `conflux.testing`
has them.
Hosts share files, clocks and processes: give each its own --data-dir.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.lan.namespaces import COMMAND_SECONDS, PREFIX, ip, remove, remove_those_of_the_dead

INTERFACE = "eth0"
HOSTS_MAX = 200
SETTINGS = {
    "/proc/sys/net/ipv6/conf/default/accept_dad": 0,  # else an address of IPv6 can't be used for two seconds
    f"/proc/sys/net/ipv6/conf/{INTERFACE}/accept_dad": 0,
    f"/proc/sys/net/ipv4/conf/{INTERFACE}/promote_secondaries": 1,  # else the old address takes the new one with it
    "/proc/sys/net/ipv4/ip_early_demux": 0,  # else the links that stand take a short cut past `drops_from`
}


class Host:
    """A machine of the LAN."""

    def __init__(self, lan: Lan, number: int) -> None:
        self.name = f"host{number}"
        self.namespace = f"{lan.name}-{number}"
        self.port = f"port{number}"  # at the switch
        self.address = f"10.77.0.{number}"
        self._lan = lan

    def popen(self, command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
        """Start a command on this host. Its pid is the command's own: `ip netns exec` becomes it."""
        process = subprocess.Popen(["ip", "netns", "exec", self.namespace, *command], **options)
        self._lan.started.append(process)
        return process

    def run(self, command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        options = {"capture_output": True, "text": True, "timeout": COMMAND_SECONDS} | options
        return subprocess.run(["ip", "netns", "exec", self.namespace, *command], check=False, **options)

    def move(self, address: str) -> None:
        """Give it another address and take the old one away."""
        self.add_address(address)
        ip("-n", self.namespace, "addr", "del", f"{self.address}/16", "dev", INTERFACE)
        self.address = address

    def add_address(self, address: str) -> None:
        """Give it one more address."""
        ip("-n", self.namespace, "addr", "add", f"{address}/16", "dev", INTERFACE)

    def ipv6(self) -> str:
        """Its link-local address."""
        found = re.search(r"inet6 (fe80:\S+)/", ip("-n", self.namespace, "addr", "show", "dev", INTERFACE))
        return found[1] if found else ""

    def unplug(self) -> None:
        """Pull the cable."""
        self._lan.switch("link", "set", self.port, "down")

    def plug(self) -> None:
        """Put the cable back."""
        self._lan.switch("link", "set", self.port, "up")

    def drops_from(self, other: Host) -> None:
        """From now on what `other` sends to this host alone is lost, in silence; the way back stays open.

        Multicast still arrives: routing has no say in it.
        """
        ip("-n", self.namespace, "rule", "add", "from", other.address, "priority", "1", "blackhole")

    def deaf(self) -> None:
        """From now on nothing arrives at this host, and everything that it sends does. (Split the LAN before.)"""
        self._deliver("off")

    def hears_again(self) -> None:
        """Undo `drops_from` and `deaf`."""
        self._deliver("on")
        rules = ip("-n", self.namespace, "rule", "list")
        for source in re.findall(r"from (\S+) blackhole", rules):
            ip("-n", self.namespace, "rule", "del", "from", source, "blackhole")

    def _deliver(self, switch: str) -> None:
        """The switch sends nothing out of a port whose address it may not learn and that it may not flood."""
        flags = [text for flag in ("learning", "flood", "mcast_flood", "bcast_flood") for text in (flag, switch)]
        self._lan.switch("link", "set", self.port, "type", "bridge_slave", *flags, "fdb_flush")


class Lan:
    """Hosts at one switch, 10.77.0.1 and up. Two of them, of one process or of several, know nothing of each other."""

    _made = 0

    def __init__(self, hosts: int = 5) -> None:
        if not 0 < hosts <= HOSTS_MAX:
            raise ValueError(f"1 to {HOSTS_MAX} hosts, not {hosts}")
        Lan._made += 1
        self.name = f"{PREFIX}-{os.getpid()}-{Lan._made}"  # of the switch's namespace
        self.started: list[subprocess.Popen[Any]] = []
        self.hosts = [Host(self, number) for number in range(1, hosts + 1)]

    def __enter__(self) -> Lan:
        remove_those_of_the_dead()
        try:
            ip("netns", "add", self.name)
            for bridge in ("left", "right"):
                self.switch("link", "add", bridge, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
                self.switch("link", "set", bridge, "up")
            for host in self.hosts:
                self._connect(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self.started:  # one that was started a moment ago may be on its way into its namespace still
            process.kill()
            process.wait()
        for namespace in (*(host.namespace for host in self.hosts), self.name):
            remove(namespace)

    def split(self, side: Sequence[Host]) -> None:
        """Put `side` at a switch of its own. Links that stand notice nothing: what they send is gone."""
        for host in self.hosts:
            self.switch("link", "set", host.port, "master", "right" if host in side else "left")

    def heal(self) -> None:
        """One switch for all, every cable plugged in, every host hears."""
        self.split([])
        for host in self.hosts:
            host.plug()
            host.hears_again()

    def switch(self, *arguments: str) -> str:
        """`ip` in the switch's namespace."""
        return ip("-n", self.name, *arguments)

    def _connect(self, host: Host) -> None:
        ip("netns", "add", host.namespace)
        peer = ("peer", "name", INTERFACE, "netns", host.namespace)
        self.switch("link", "add", host.port, "type", "veth", *peer)
        self.switch("link", "set", host.port, "master", "left")
        self.switch("link", "set", host.port, "up")
        for path, value in SETTINGS.items():
            ip("netns", "exec", host.namespace, "sh", "-c", f"test ! -e {path} || echo {value} > {path}")
        # The rule that leads to the host itself stands first by default. Then `drops_from` would come too late.
        ip("-n", host.namespace, "rule", "add", "priority", "2", "lookup", "local")
        ip("-n", host.namespace, "rule", "del", "priority", "0")
        ip("-n", host.namespace, "link", "set", "lo", "up")
        host.add_address(host.address)
        ip("-n", host.namespace, "link", "set", INTERFACE, "up")
        ip("-n", host.namespace, "route", "add", "224.0.0.0/4", "dev", INTERFACE)
