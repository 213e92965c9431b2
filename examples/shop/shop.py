"""A shop with a stock: what is sold out can't be bought. The README explains it."""

import conflux

app = conflux.App(name="shop")


@app.method
def buy(state, item):
    if state.get(item, 0) == 0:
        raise ValueError(f"{item} is sold out")
    return {"type": "bought", "item": item}


@app.method
def stock(state, item, count):
    return {"type": "stocked", "item": item, "count": int(count)}


@app.reducer
def reduce(state, action):
    state = {} if state is None else state
    match action:
        case {"type": "stocked", "item": item, "count": count}:
            return {**state, item: state.get(item, 0) + count}
        case {"type": "bought", "item": item}:
            return {**state, item: state[item] - 1}
    return state
