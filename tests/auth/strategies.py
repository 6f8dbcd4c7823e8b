"""Hypothesis strategies for what `auth` works on. Few names, so that they meet often."""

from hypothesis import strategies as st

from auth.scopes import ACTIONS, Resource, Scopes

_parts = st.sampled_from(["a", "b", "demo", "demo_x"])
_names = st.lists(_parts, min_size=1, max_size=3).map("/".join)
_actions = st.sets(st.sampled_from(ACTIONS["repository"]), min_size=1)
_catalog = st.dictionaries(st.just(Resource("registry", "catalog")), st.just({"*"}))


def _some(names: st.SearchStrategy[str]) -> st.SearchStrategy[Scopes]:
    resources = st.builds(Resource, st.just("repository"), names)
    return st.builds(
        lambda some, catalog: Scopes(some | catalog),
        st.dictionaries(resources, _actions, max_size=4),
        _catalog,
    )


scopes = _some(_names)
ceilings = _some(st.one_of(_names, _names.map("{}/*".format), st.just("*")))
