"""`conflux wait`"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from conflux.cli import output
from conflux.cli.options import Settings, command
from conflux.errors import NotApplied, NotReady, Unreachable

if TYPE_CHECKING:
    from conflux.client.client import Client

ATTEMPT_SECONDS = 1.0
PAUSE_SECONDS = 0.1


@command("wait", examples=["conflux wait --timeout 30 && conflux perform append foo"])
def wait(settings: Settings) -> None:
    """Wait until the cluster serves: until a majority confirms a read.

    For scripts and health checks. Exit status: 4 if it does not serve in time, 3 if no node answers at all.
    """
    started_s = time.monotonic()
    revision = await_service(settings, started_s + settings.timeout())
    waited_s = time.monotonic() - started_s
    if settings.json:
        output.print_json({"cluster": settings.cluster, "revision": revision, "seconds": round(waited_s, 3)})
    else:
        output.print_line(f"the cluster {settings.cluster} serves, at revision {revision}")


def await_service(settings: Settings, deadline_s: float) -> int:
    """The revision of the first linearizable read that succeeds.

    Raises:
        NotReady: nodes answer, but none of them could confirm a read in time.
        Unreachable: no node answered.
    """
    reason: NotApplied | None = None
    with contextlib.ExitStack() as clients:
        client: Client | None = None
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                client = client or clients.enter_context(settings.client(patience_s=left_s))
                return client.get_revision("linearizable", timeout=max(0.05, min(ATTEMPT_SECONDS, left_s)))
            except NotApplied as error:
                reason = error
            except Unreachable:
                if reason is None and left_s <= PAUSE_SECONDS:
                    raise
                clients.close()
                client = None  # nodes that were started since are found by a new one
            if left_s <= PAUSE_SECONDS:
                raise NotReady(f"the cluster {settings.cluster!r} does not serve: {reason}")
            time.sleep(PAUSE_SECONDS)
