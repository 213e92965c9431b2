"""A counter in a cluster of its own, and a client that counts, from this directory:

conflux --cluster counter start --cluster-size 3 --app counter_with_client:app --detach
python counter_with_client.py
conflux --cluster counter stop
"""

from __future__ import annotations

import conflux

app = conflux.App(name="counter")


@app.method
def add(state, count):
    if count < 1:
        raise ValueError("it only counts up")
    return {"type": "add", "count": count}


@app.reducer
def reduce(state, action):
    state = 0 if state is None else state
    return state + action["count"] if action and action["type"] == "add" else state


def main() -> None:
    with conflux.Client(cluster="counter") as client:
        before = client.get_state(timeout=5)
        futures = [client.submit("add", 1, timeout=5) for _ in range(100)]  # on their way at once, applied in order
        last = futures[-1].result()
        print(f"revision {last.revision} in entry {last.index}: {client.get_state(timeout=5) - before} more")
        try:
            client.perform("add", 0, timeout=5)
        except conflux.errors.MethodRejected as error:
            print(f"rejected: {error}")


if __name__ == "__main__":
    main()
