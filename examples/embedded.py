"""Five nodes inside one program: `python examples/embedded.py`. Nothing is kept on disk."""

from __future__ import annotations

import threading

import conflux

app = conflux.App()


@app.method
def append(state, thing):
    return {"type": "append", "thing": thing}


@app.reducer
def reduce(state, action):
    state = [] if state is None else state
    return [*state, action["thing"]] if action and action["type"] == "append" else state


def main() -> None:
    nodes = [conflux.Conflux(app, id=label, cluster_size=5, channel="memory") for label in "abcde"]
    seen = threading.Event()

    def tell(committed: conflux.Committed) -> None:
        print(f"revision {committed.revision}: b holds {nodes[1].get_state()}")
        seen.set()

    nodes[1].subscribe(tell)
    action = nodes[0].perform("append", "foo", timeout=5)  # from any node; returns the action once committed
    seen.wait(5)
    print(f"the action: {action}")
    for node in nodes:
        node.close()


if __name__ == "__main__":
    main()
