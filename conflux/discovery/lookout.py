"""The thread that keeps a zeroconf session going: started at once, ended at once, never in anybody's way.

Importing zeroconf takes 80 ms and an announcement half a second: both happen here, so nobody waits for them (E10). The
interfaces are looked at every few seconds: when they change, a cable, a sleep, a new address, the session is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from typing import Any, Protocol

from conflux.discovery.interfaces import InterfaceAddress, announced, interface_addresses, listened_on
from conflux.discovery.record import Announcement, Sighting
from conflux.discovery.session import Session

SWEEP_SECONDS = 2.0
RETRY_SECONDS = 10.0
CLOSE_SECONDS = 0.8
COMPLAINT_SECONDS = 300.0

_log = logging.getLogger("conflux.discovery")


class Listener(Protocol):
    """Who is told. All calls come from the lookout's thread and must not wait."""

    def hear(self, sightings: list[Sighting]) -> None:
        """Somebody said this: some of it new, some of it still the same."""
        ...

    def instances(self) -> list[str]:
        """Which ones to keep looking at."""
        ...

    def swept(self, local: tuple[InterfaceAddress, ...]) -> None:
        """All there is was looked at; these are this machine's own addresses."""
        ...


class Lookout:
    """Announces, if there is an announcement, and browses: from `start` to `close`."""

    def __init__(
        self, listener: Listener, *, announcement: Announcement | None, counts: Counter[str], loopback: bool = False
    ) -> None:
        self._listener = listener
        self._announcement = announcement
        self._counts = counts
        self._loopback = loopback
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_complaint_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="conflux-mdns", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Say goodbye if that can be done soon. Calling twice is harmless."""
        self._closing = True
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                pass  # it ended by itself in between
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)

    def complain(self, cause: str, message: str, *arguments: object) -> None:
        """Log a warning unless there was one of the same cause lately: strangers can cause them as they like."""
        now_s = time.monotonic()
        if now_s >= self._next_complaint_s.get(cause, 0.0):
            self._next_complaint_s[cause] = now_s + COMPLAINT_SECONDS
            _log.warning(message, *arguments)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:
            _log.warning("mDNS ended, static peers are still tried: %s: %s", type(error).__name__, error)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        self._stop = asyncio.Event()
        self._loop = loop  # from now on `close` can reach it; before, it is noticed here
        while not (self._closing or self._stop.is_set()):
            local = interface_addresses(loopback=self._loopback)
            own = self._announcement.address if self._announcement else None
            interfaces = listened_on(local, own)
            if not interfaces:
                self.complain("interfaces", "mDNS finds no network interface: static peers only until there is one")
                await self._pause(SWEEP_SECONDS)
                continue
            hosts = announced(own, local) if own else ()
            if own and not hosts:
                self.complain("hosts", "mDNS does not announce %s: it leads to no address that others reach", own)
            if not await self._stay(local, interfaces, hosts):
                await self._pause(RETRY_SECONDS)

    async def _stay(
        self, local: tuple[InterfaceAddress, ...], interfaces: tuple[InterfaceAddress, ...], hosts: tuple[str, ...]
    ) -> bool:
        """One session, for as long as the interfaces are the same. False: there was none."""
        import zeroconf

        session = Session(self._listener.hear, self._counts)
        try:
            await session.open(interfaces, self._announcement, hosts)
        except (OSError, RuntimeError, zeroconf.Error) as error:
            self._counts["failures"] += 1
            self.complain("session", "mDNS does not work here, static peers are still tried: %s", error or type(error))
            return False
        self._counts["sessions"] += 1
        try:
            while not self._stop.is_set() and interface_addresses(loopback=self._loopback) == local:
                session.sweep(self._listener.instances())
                self._listener.swept(local)
                await self._pause(SWEEP_SECONDS)
        finally:
            await session.close()
        return True

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            pass

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something inside zeroconf raised: a packet more that nobody can use."""
        self._counts["failures"] += 1
        self.complain("failure", "mDNS: %s: %r", context.get("message", ""), context.get("exception"))
