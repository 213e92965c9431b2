"""A leader takes what has come in while it judged into the same entry: each entry costs all nodes much."""

from __future__ import annotations

from conflux.node.leadership import LARGE_CALLS
from conflux.store.turn import Turn
from conflux.wire import values
from conflux.wire.clients import CLIENTS, Answers, Code, Perform, Refused, TransferLeadership
from tests.node.harness import World


def calls(user, numbers):
    perform = Perform(user.number(), user.session, 0, 0, [("add", values.encode([n])) for n in numbers], False)
    return user.handle, CLIENTS.encode_for_client(perform)


def test_what_comes_in_while_a_leader_judges_is_in_the_same_entry_but_calls_alone(monkeypatch):
    world = World(1)
    user, other = world.user(), world.user()
    for each in (user, other):
        each.open()
    node = world.nodes["a"]
    late = [
        (other.handle, CLIENTS.encode_for_client(TransferLeadership(9, ""))),
        (other.handle, b"nothing that decodes"),
        calls(other, [99]),
    ]
    run = Turn.perform

    def perform(self, request):
        node.channel.from_clients += late
        late.clear()
        return run(self, request)

    monkeypatch.setattr(Turn, "perform", perform)
    before = node.replica.raft.log.last_index
    node.channel.from_clients.append(calls(user, range(LARGE_CALLS)))
    node.turn()
    world.until(lambda: user.got(Answers) and other.got(Answers) and other.got(Refused))
    assert user.got(Answers)[0].index == other.got(Answers)[0].index == before + 1
    assert node.machine.revision == LARGE_CALLS + 1
    # A transfer would have stopped the entry; heard after it, it finds nobody to lead in this one's place.
    assert (other.got(Refused)[0].request, other.got(Refused)[0].code) == (9, Code.NO_LEADER)
    assert node.counts["malformed"] == 1


def test_a_small_entry_does_not_ask_for_more(monkeypatch):
    world = World(1)
    user = world.user()
    node = world.nodes["a"]
    monkeypatch.setattr(node.channel, "receive_more_from_clients", None)
    user.perform(("add", 1))
    assert node.machine.revision == 1
