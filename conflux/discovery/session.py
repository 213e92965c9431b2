"""One stay of zeroconf on one set of interfaces: announce, browse, hand over what is heard.

Rule: what is done for a stranger's packet is bounded. Names wait in a set with a limit, are looked at a few at a time,
and of the records under one name only a few are read, drawn by lot where there are more.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from conflux.discovery.interfaces import InterfaceAddress
from conflux.discovery.record import SERVICE_TYPE, Announcement, Sighting, is_well_named, new_incarnation, read
from conflux.discovery.record import service_name as full_name

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

NAMES_WAITING_MAX = 256
NAMES_PER_LOOK_MAX = 64
LOOK_SECONDS = 0.05
RECORDS_PER_NAME_MAX = 8
REQUESTS_MAX = 8  # questions about single names that are under way
REQUEST_SECONDS = 3.0
QUERY_SECONDS_MIN = 10.0
QUERY_SECONDS_MAX = 60.0  # half of the 120 s that an address record lives

_TYPE_A, _TYPE_PTR, _TYPE_TXT, _TYPE_AAAA, _TYPE_SRV, _CLASS_IN = 1, 12, 16, 28, 33, 1

Item = TypeVar("Item")


class Session:
    """Made, used and closed inside one asyncio loop."""

    def __init__(self, hear: Callable[[list[Sighting]], None], counts: Counter[str]) -> None:
        self._hear = hear
        self._counts = counts
        self._waiting: set[str] = set()
        self._look: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Future[Any]] = set()
        self._query_pause_s = QUERY_SECONDS_MIN
        self._next_query_s = 0.0

    async def open(
        self, interfaces: tuple[InterfaceAddress, ...], announcement: Announcement | None, hosts: tuple[str, ...]
    ) -> None:
        """Listen, browse and, where there is an announcement and an address for it, announce.

        Raises:
            OSError, RuntimeError, zeroconf.Error: these interfaces are of no use.
        """
        from zeroconf.asyncio import AsyncServiceBrowser

        self._loop = asyncio.get_running_loop()
        self._multicast = _listen(interfaces)
        self._zeroconf = self._multicast.zeroconf
        try:
            await self._zeroconf.async_wait_for_start()
            self._browser = AsyncServiceBrowser(self._zeroconf, SERVICE_TYPE, handlers=[self._changed])
            if announcement is not None and hosts:
                info = _service(announcement, hosts)
                # Probing asks for 1.5 s whether the name is taken. It was drawn by lot a moment ago.
                self._keep(await self._multicast.async_register_service(info, cooperating_responders=True))
                self._counts["announcements"] += 1
        except BaseException:
            await self._multicast.async_close()
            raise

    async def close(self) -> None:
        """Say goodbye and stop. What others keep of this node is their business."""
        if self._look is not None:
            self._look.cancel()
        for task in self._tasks:
            task.cancel()
        await self._browser.async_cancel()
        await self._multicast.async_close()

    def sweep(self, instances: Iterable[str]) -> None:
        """Look again at `instances` and at what else is known, and ask the LAN now and then.

        Zeroconf tells of what changes and asks by itself at the beginning only. So this finds the nodes of two LANs
        that became one, and whose news were lost; and it keeps alive what is still there.
        """
        pointers = self._zeroconf.cache.async_all_by_details(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN)
        names = [full_name(instance) for instance in instances]
        names += [pointer.alias for pointer in _some(pointers, NAMES_WAITING_MAX)]  # type: ignore[attr-defined]
        self._look_at_all(dict.fromkeys(names), ask=False)
        now_s = time.monotonic()
        if now_s >= self._next_query_s:
            self._next_query_s = now_s + self._query_pause_s
            self._query_pause_s = min(2 * self._query_pause_s, QUERY_SECONDS_MAX)
            self._query()

    def _query(self) -> None:
        """Ask who is there, for everybody to hear, leaving out what is known: all are to answer, with their addresses.

        Zeroconf's own first question asks for answers to its address alone. Where several programs of a host listen,
        other nodes or an mDNS daemon, the system hands such an answer to any one of them.
        """
        from zeroconf import DNSOutgoing, DNSQuestion  # type: ignore[attr-defined]

        self._counts["queries"] += 1
        packet = DNSOutgoing(flags=0)
        packet.add_question(DNSQuestion(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN))
        self._zeroconf.async_send(packet)

    def _changed(self, *, name: str, **_ignored: object) -> None:
        """Zeroconf heard something about a name: new, changed or gone, which is not the same as true."""
        if not is_well_named(name):
            self._counts["malformed"] += 1
        elif len(self._waiting) >= NAMES_WAITING_MAX:
            self._counts["too_many"] += 1  # the next sweep may come upon it
        else:
            self._waiting.add(name)
            if self._look is None:
                self._look = self._loop.call_later(LOOK_SECONDS, self._look_at_some)

    def _look_at_some(self) -> None:
        names = [self._waiting.pop() for _ in range(min(NAMES_PER_LOOK_MAX, len(self._waiting)))]
        self._look = self._loop.call_later(LOOK_SECONDS, self._look_at_some) if self._waiting else None
        self._look_at_all(names, ask=True)

    def _look_at_all(self, names: Iterable[str], *, ask: bool) -> None:
        """Hand over what is known of these names; ask the LAN where that is too little to be of use."""
        heard = []
        for name in names:
            texts, endpoints = self._known(name)
            if texts and endpoints:
                sightings = read(name, texts, endpoints)
                self._counts["malformed"] += 1 if ask and not sightings else 0
                heard += sightings
            elif ask and len(self._tasks) < REQUESTS_MAX:
                self._keep(asyncio.ensure_future(self._ask_about(name)))
        if heard:
            self._hear(heard)

    def _known(self, name: str) -> tuple[list[bytes], list[tuple[str, int]]]:
        """The TXT records under a name, and where its service may be."""
        endpoints = [
            (_host(record), service.port)
            for service in self._records(name, _TYPE_SRV)
            for kind in (_TYPE_A, _TYPE_AAAA)
            for record in self._records(service.server, kind)
        ]
        return [record.text for record in self._records(name, _TYPE_TXT)], endpoints

    def _records(self, name: str, kind: int) -> list[Any]:
        return _some(self._zeroconf.cache.async_all_by_details(name, kind, _CLASS_IN), RECORDS_PER_NAME_MAX)

    async def _ask_about(self, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if await info.async_request(self._zeroconf, REQUEST_SECONDS * 1000):
            self._look_at_all([name], ask=False)

    def _keep(self, task: Any) -> None:
        """Asyncio holds its tasks by weak references only."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _listen(interfaces: tuple[InterfaceAddress, ...]) -> AsyncZeroconf:
    from zeroconf.asyncio import AsyncZeroconf

    version_4: list[Any] = [each.host for each in interfaces if not each.is_ipv6]
    version_6 = sorted({each.index for each in interfaces if each.is_ipv6})
    try:
        return AsyncZeroconf(interfaces=[*version_4, *version_6])
    except OSError:
        if not (version_4 and version_6):
            raise
        return AsyncZeroconf(interfaces=version_4)  # IPv6 is there in name only


def _service(announcement: Announcement, hosts: tuple[str, ...]) -> AsyncServiceInfo:
    """The service's records. Its host name is its own too, so that no other program answers for it."""
    from zeroconf.asyncio import AsyncServiceInfo

    instance = f"{announcement.identity}-{new_incarnation()}"
    name, port, server = full_name(instance), announcement.address.port, f"{instance}.local."
    text = announcement.text()
    return AsyncServiceInfo(SERVICE_TYPE, name, port, properties=text, server=server, parsed_addresses=list(hosts))


def _some(items: list[Item], most: int) -> list[Item]:
    return items if len(items) <= most else random.sample(items, most)


def _host(record: Any) -> str:
    """An address record as text; a link-local one with the interface that it was heard on."""
    host = str(ipaddress.ip_address(record.address))
    return f"{host}%{socket.if_indextoname(record.scope_id)}" if record.scope_id else host
