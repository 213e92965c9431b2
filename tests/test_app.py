"""Apps: what makes one, what keeps one from being run, and the reducers that are put together out of others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyrsistent import pvector

import conflux
from conflux.app import App, combine_reducers, load_app
from conflux.apps.list import app as list_app
from conflux.errors import ConfluxError, OptionsError


def act(state: Any) -> Any:
    return "go"


def reduce(state: Any, action: Any) -> Any:
    return state or 0


def parse(text: str) -> Any:
    return text


# ---- Making one ----


def test_decorators_give_back_the_function_and_keep_it_under_its_name():
    app: App[Any, Any] = App()
    assert app.method(act) is act and app.reducer(reduce) is reduce
    assert (app.methods, app.reduce, app.problems()) == ({"act": act}, reduce, [])
    assert app.dumper(repr) is repr and app.loader(parse) is parse
    assert (app.dump, app.load, app.problems()) == (repr, parse, [])


def test_methods_and_reducer_may_be_given_at_once_and_the_mapping_stays_the_callers():
    methods: dict[str, Callable[..., Any]] = {"act": act}
    app = App(methods, reduce)
    app.method(lambda state: None)
    assert list(methods) == ["act"] and len(app.methods) == 2


def test_a_later_method_of_the_same_name_takes_the_place_of_the_first():
    app: App[Any, Any] = App({"act": print}, reduce)
    app.method(act)
    assert app.methods == {"act": act}


def test_an_app_has_a_name_and_says_whether_it_was_given():
    assert (App().name, App().named) == ("app", False)
    assert (App(name="shop").name, App(name="shop").named) == ("shop", True)


async def act_later(state: Any) -> Any:
    return "go"


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        (App({"act": act}), "the app has no reducer"),
        (App(reduce=reduce), "the app has no method"),
        (App({"act": 5}, reduce), "act is not callable"),
        (App({"act": act}, 5), "the reducer is not callable"),
        (App({"act": act_later}, reduce), "act must not be async"),
        (App({"act": act}, act_later), "the reducer must not be async"),
        (App({"act": act}, reduce, dump=repr), "the app has dump and no load: give both, or neither"),
        (App({"act": act}, reduce, load=repr), "the app has load and no dump: give both, or neither"),
        (App({"act": act}, reduce, dump=5, load=repr), "the app's dump is not callable"),
        (App({"act": act}, reduce, dump=repr, load=act_later), "the app's load must not be async"),
        (App({"act": act}, reduce, version=0), "version must be a whole number"),
        (App({"act": act}, reduce, version="2"), "version must be a whole number"),
        (App({"act": act}, reduce, version=True), "version must be a whole number"),
    ],
)
def test_what_keeps_an_app_from_being_run_is_told_in_a_sentence(app, problem):
    (found,) = app.problems()
    assert found.startswith(problem)


def test_all_problems_are_told_at_once():
    assert len(App(version=0).problems()) == 3


# ---- Reducers put together ----


def counter(state: Any, action: Any) -> Any:
    state = 0 if state is None else state
    return state + 1 if action == "count" else state


def history(state: Any, action: Any) -> Any:
    state = () if state is None else state
    return (*state, action) if action == "note" else state


def test_combined_reducers_begin_with_what_each_begins_with():
    assert combine_reducers({"count": counter, "notes": history})(None, None) == {"count": 0, "notes": ()}


def test_an_action_changes_the_parts_that_know_it_and_leaves_the_state_before_it():
    both = combine_reducers({"count": counter, "notes": history})
    before = both(None, None)
    after = both(before, "count")
    assert (before, after) == ({"count": 0, "notes": ()}, {"count": 1, "notes": ()})
    assert after["notes"] is before["notes"]


def test_an_action_that_nobody_knows_gives_the_very_same_object_back():
    both = combine_reducers({"count": counter, "notes": history})
    state = both(None, None)
    assert both(state, "unknown") is state and both(state, None) is state


def test_an_empty_state_of_no_parts_is_kept_too():
    nothing = combine_reducers({})
    state = nothing(None, None)
    assert state == {} and nothing(state, "any") is state


def test_combined_reducers_may_be_combined_again():
    inner = combine_reducers({"count": counter})
    outer = combine_reducers({"in": inner, "notes": history})
    state = outer(outer(None, None), "count")
    assert state == {"in": {"count": 1}, "notes": ()} and outer(state, "unknown") is state


def test_a_part_that_is_new_begins_though_the_state_does_not_have_it():
    assert combine_reducers({"count": counter, "notes": history})({"count": 5}, None) == {"count": 5, "notes": ()}


def test_the_mapping_may_change_afterwards_and_the_reducer_does_not():
    parts = {"count": counter}
    both = combine_reducers(parts)
    parts["notes"] = history
    assert both(None, None) == {"count": 0}


# ---- Finding one ----


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for modules; what was imported from it is forgotten afterwards."""
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_an_app_is_found_by_module_and_attribute_and_takes_its_name_from_there(directory):
    (directory / "shop_found.py").write_text(
        "import conflux\nmine = conflux.App({'act': print}, lambda state, action: 0)\n"
    )
    app = load_app("shop_found:mine", str(directory))
    assert (app.name, list(app.methods)) == ("shop_found:mine", ["act"])


def test_an_app_with_a_name_of_its_own_keeps_it():
    assert load_app("conflux.apps.list:app").name == "list"


@pytest.mark.parametrize("spec", ["", ":", "shop", "shop:", ":app"])
def test_a_spec_that_names_no_app_is_a_mistake_in_the_options(spec):
    with pytest.raises(OptionsError, match="does not name an app") as caught:
        load_app(spec)
    assert "MODULE:ATTR" in caught.value.hint


SOURCES = {
    "missing": (None, "can't be imported: ModuleNotFoundError: No module named 'shop_missing'"),
    "syntax": ("def", "can't be imported: SyntaxError"),
    "raises": ("raise OSError('no such\\nthing')", "can't be imported: OSError"),
    "elsewhere": ("import shop_nowhere", "can't be imported: ModuleNotFoundError: No module named 'shop_nowhere'"),
    "nothing": ("", "is not a conflux.App"),
    "function": ("def app(): ...", "is not a conflux.App"),
    "empty": ("import conflux\napp = conflux.App()", "can't run: the app has no reducer"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_app_that_can_not_be_had_is_one_error_that_says_why(directory, name):
    source, message = SOURCES[name]
    if source is not None:
        (directory / f"shop_{name}.py").write_text(source)
    with pytest.raises(ConfluxError, match=r"shop_\w+:app") as caught:
        load_app(f"shop_{name}:app", str(directory))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missing", "Name its directory with --app-dir."),
        ("syntax", "Mend its module."),
        ("raises", "Mend its module."),
        ("elsewhere", "Mend its module."),
    ],
)
def test_its_directory_is_asked_for_only_where_its_module_was_not_found(directory, name, hint):
    source, _ = SOURCES[name]
    if source is not None:
        (directory / f"shop_{name}.py").write_text(source)
    with pytest.raises(ConfluxError) as caught:
        load_app(f"shop_{name}:app", str(directory))
    assert caught.value.hint == hint


def test_i1_an_import_error_of_several_lines_is_told_in_one(directory):
    (directory / "shop_lines.py").write_text("raise OSError('no such\\nthing')")
    with pytest.raises(ConfluxError) as caught:
        load_app("shop_lines:app", str(directory))
    assert "\n" not in str(caught.value)


def test_a_module_that_exits_while_it_is_imported_is_an_error_like_any_other(directory):
    (directory / "shop_exits.py").write_text("raise SystemExit(0)")
    with pytest.raises(ConfluxError):
        load_app("shop_exits:app", str(directory))


# ---- The default app ----


def test_the_list_appends_removes_and_clears():
    state = list_app.reduce(None, None)
    for thing in ("a", "b", "a"):
        state = list_app.reduce(state, list_app.methods["append"](state, thing))
    assert list_app.methods["append"](state, "foo") == {"type": "append", "thing": "foo"}
    assert list_app.reduce(state, list_app.methods["remove"](state, "a")) == pvector(["b", "a"])
    assert list_app.reduce(state, list_app.methods["clear"](state)) == pvector()


def test_the_list_rejects_what_can_not_be_and_does_nothing_where_nothing_is_to_be_done():
    with pytest.raises(ValueError, match="'x' is not in the list"):
        list_app.methods["remove"](pvector(["a"]), "x")
    assert list_app.methods["clear"](pvector()) is None


@pytest.mark.parametrize("action", [None, "unknown", {}, {"type": "append"}, {"type": "sing", "thing": 1}, 5, []])
def test_the_list_gives_the_very_same_state_back_for_an_action_that_it_does_not_know(action):
    state = pvector(["a"])
    assert list_app.reduce(state, action) is state


def test_the_default_app_can_be_run():
    assert list_app.problems() == [] and conflux.App is App
