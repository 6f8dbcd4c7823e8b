"""Hypothesis strategies for what `auth` works on. Few names, so that they meet often."""

from hypothesis import strategies as st

from auth.scopes import ACTIONS, Resource, Scopes

_parts = st.sampled_from(["a", "b", "demo", "demo_x"])
_names = st.lists(_parts, min_size=1, max_size=3).map("/".join)
_actions = {
    kind: st.sets(st.sampled_from(actions), min_size=1) for kind, actions in ACTIONS.items()
}


def _some(names: st.SearchStrategy[str], projects: st.SearchStrategy[str]) -> st.SearchStrategy:
    def entries(kind: str, named: st.SearchStrategy[str]) -> st.SearchStrategy[dict]:
        return st.dictionaries(
            st.builds(Resource, st.just(kind), named), _actions[kind], max_size=3
        )

    return st.builds(
        lambda *parts: Scopes(parts[0] | parts[1] | parts[2]),
        entries("repository", names),
        entries("project", projects),
        entries("registry", st.just("catalog")),
    )


_pattern = st.just("*")
scopes = _some(_names, _parts)
ceilings = _some(_names | _names.map("{}/*".format) | _pattern, _parts | _pattern)
