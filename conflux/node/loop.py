"""The thread that turns a node: everything of the node belongs to it."""

from __future__ import annotations

import logging
import threading

from conflux.errors import Closed
from conflux.node import collector
from conflux.node.leaving import hand_over_before_leaving
from conflux.node.local import LocalCaller
from conflux.node.node import Node

_log = logging.getLogger("conflux.node")


class Loop:
    """Turns a node until it is told to stop, or the node can't go on.

    Args:
        caller: the embedding program's calls, if there is one.
    """

    def __init__(self, node: Node, caller: LocalCaller | None = None) -> None:
        self.error: BaseException | None = None  # why the loop ended, if it wasn't told to
        self.ended = threading.Event()
        self._node = node
        self._caller = caller
        self._stop = threading.Event()
        self._hands_over = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Turn the node in a thread of its own, within a program."""
        collector.calm()
        self._thread = threading.Thread(target=self.run, name=f"conflux-{self._node.directory.self.label}", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Turn the node in this thread until `stop`; then give everything back."""
        try:
            self._turns()
        except BaseException as error:  # the node must not go on, whatever it is; its owner is told
            self.error = error
            _log.critical("node %s stops: %s: %s", self._node.directory.self.label, type(error).__name__, error)
        finally:
            self.ended.set()  # first: whoever comes from now on sees that nobody will answer
            if self._caller is not None:
                self._caller.close(Closed("the node is closed"))
            self._node.close()

    def stop(self, *, hand_over: bool = False) -> None:
        """End the loop; from any thread, or a signal's handler.

        Args:
            hand_over: where this node leads, let another one take over first. A second call ends that, too.
        """
        self._hands_over = hand_over and not self._stop.is_set()
        self._stop.set()
        self._node.channel.wake()

    def join(self) -> None:
        """Wait until the loop has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _turns(self) -> None:
        while not self._stop.is_set():
            self._turn()
        if self._hands_over:
            hand_over_before_leaving(self._node, self._turn, lambda: not self._hands_over)

    def _turn(self) -> None:
        node, caller = self._node, self._caller
        if caller is not None:
            caller.turn()
        node.turn()
        wait_s = node.wait_s()
        node.channel.poll(wait_s if caller is None else min(wait_s, caller.wait_s()))
