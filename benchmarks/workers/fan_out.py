"""Many watchers of one cluster: how long until all of them have heard of an action."""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmarks.figures import latencies_ms
from conflux import Client

WATCHES_A_CLIENT = 10
HEAR_SECONDS_MAX = 20.0


class FanOut:
    """Watchers, ten a client, each in a thread of its own."""

    def __init__(self, data_dir: str, watchers: int) -> None:
        self._heard = threading.Semaphore(0)
        self._watchers = watchers
        self._clients = [Client(data_dir=data_dir) for _ in range(-(-watchers // WATCHES_A_CLIENT))]
        for number in range(watchers):
            client = self._clients[number // WATCHES_A_CLIENT]
            threading.Thread(target=self._watch, args=(client,), daemon=True).start()

    def measure(self, client: Client, actions: int) -> dict[str, Any]:
        """Perform actions one by one; each is over when the last watcher has it."""
        try:
            self._wait_for_all()  # each tells first where it begins
            latencies, answered = [], []
            for number in range(actions):
                began = time.monotonic()
                client.perform("append", f"fan-out-{number}", timeout=10)
                answered.append(time.monotonic() - began)
                self._wait_for_all()
                latencies.append(time.monotonic() - began)
            return {"latency_ms": latencies_ms(latencies), "answer_ms": latencies_ms(answered)}
        finally:
            for each in self._clients:
                each.close()

    def _watch(self, client: Client) -> None:
        for _ in client.watch_from(None):
            self._heard.release()

    def _wait_for_all(self) -> None:
        for _ in range(self._watchers):
            if not self._heard.acquire(timeout=HEAR_SECONDS_MAX):
                raise TimeoutError("not every watcher has heard of it")
