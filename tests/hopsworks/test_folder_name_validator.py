"""Names there and here: no two projects of a platform have one name here, whatever they are called.

After the platform's `FolderNameValidator`, `Project.findByNameCaseInsensitive` and
`KubeClientService.getKubeProjectName`.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.service.platform import names
from registry.spec.errors import NameInvalid
from registry.spec.problems import Invalid, ProjectNameInvalid

VALID = re.compile(
    r"^(?!^Projects$)(?!^[0-9]*$)[a-zA-Z0-9]((?!__)(?!_featurestore)[_a-zA-Z0-9]){0,22}[a-zA-Z0-9]$",
    re.IGNORECASE,
)
"""The validator's own expression."""

NAMES = st.from_regex(r"[A-Za-z0-9](_?[A-Za-z0-9]){1,11}", fullmatch=True).filter(
    lambda text: VALID.fullmatch(text) and text.lower() not in names.BASES
)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def known(name):
    try:
        return names.namespace(name)
    except ProjectNameInvalid:
        return None


@given(NAMES)
def test_every_name_that_the_platform_allows_has_one_here(name):
    found = known(name)
    # But for the names of this registry's own paths, and what reads like a project's id.
    assert found == name.lower() or name.lower() in (
        "v1",
        "v2",
        "v3",
        "api",
        "auth",
        "oauth2",
        "token",
        "jwks",
        "login",
        "logout",
        "ui",
        "healthz",
        "readyz",
        "metrics",
        "admin",
        "moorage",
    )
    assert LABEL.fullmatch(names.kubernetes_namespace(name))


@given(NAMES, NAMES)
def test_two_projects_never_meet(one, other):
    same = one.lower() == other.lower()
    if known(one) and known(other):
        assert (names.namespace(one) == names.namespace(other)) == same
    assert (names.kubernetes_namespace(one) == names.kubernetes_namespace(other)) == same


@given(st.text(max_size=12))
def test_what_the_platform_refuses_is_refused_or_was_allowed_once(name):
    """Names of old installations may be longer, or one letter; nothing else is let through."""
    if known(name) is not None:
        assert VALID.fullmatch(name) or re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "_",
            "a__b",
            "_a",
            "a_",
            "1",
            "2026",
            "a-b",
            "a.b",
            "a/b",
            "a b",
            "ä",
            "\u212a1",
            "a\n",
        ),
        *("a" * 89, "v2", "API", "Base", "PYTHON310", "git", "0" * 31 + "a", "hopsworks-base"),
    ],
)
def test_names_that_are_refused(name):
    with pytest.raises(ProjectNameInvalid):
        names.namespace(name)


def test_both_layouts():
    assert names.repository("My_Project") == "my_project"
    assert names.repository("My_Project", "python-app") == "my_project/python-app"
    assert names.repository("demo", "gpu/torch") == "demo/gpu/torch"
    for environment in ("Up", "a b", "../x", "a//b", "a/"):
        with pytest.raises(NameInvalid):
            names.repository("demo", environment)


def test_more_bases_can_be_named():
    assert names.namespace("istio") == "istio"
    with pytest.raises(ProjectNameInvalid):
        names.namespace("Istio", {"istio"})
    assert names.namespace("base", ()) == "base"


@pytest.mark.parametrize("user", ["", "a b", "a/b", "-a", "a" * 64, "a\n", "ä", "a:b", "a__b!"])
def test_what_can_be_no_user_there(user):
    with pytest.raises(Invalid):
        names.user_name(user)


RESTS = st.from_regex(r"[A-Za-z0-9.-][A-Za-z0-9._-]{0,60}", fullmatch=True)
BACKUPS = st.from_regex(r"[A-Za-z0-9.-]{1,30}", fullmatch=True)


@given(NAMES.filter(known), RESTS, BACKUPS)
def test_a_tag_of_the_shared_repository_is_one_projects(name, rest, backup):
    """`ManagedDockerRegistryMngr`: `<project>__<ms>-<version>.<n>`, and a backup's copy of it."""
    tag = f"{name}__{rest}"
    assert names.tag_project(tag) == name.lower()
    assert names.tag_project(f"__backup_{backup}_{tag}") == name.lower()
    assert names.tag_project(tag.replace("__", "_", 1)) != name.lower()


@given(NAMES.filter(known), NAMES.filter(known), RESTS)
def test_no_prefix_of_one_project_is_anothers(one, other, rest):
    """HWORKS-211: what begins with `demo__` is no image of `demo_x`, nor the other way round."""
    if one.lower() != other.lower():
        assert not f"{other}__{rest}".lower().startswith(f"{one}__".lower())
        assert names.tag_project(f"{other}__{rest}") != one.lower()


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,60}", fullmatch=True))
def test_whose_a_tag_is(tag):
    """Only what has no `__` is the platform's own, for all to read."""
    found = names.tag_project(tag)
    assert (found == "") == ("__" not in tag)
    if found:
        own = tag.lower()
        if own.startswith("__backup_"):
            own = own.split("_", 4)[4]
        assert own.startswith(f"{found}__")
        assert known(found) == found


@pytest.mark.parametrize(
    ("tag", "project"),
    [
        ("python310_4.1.0", ""),
        ("latest", ""),
        ("demo_1611136370296-2.0.0.0", ""),
        ("demo__1611136370296-4.1.0.0", "demo"),
        ("demo_x__1", "demo_x"),
        ("My_Project__1", "my_project"),
        ("demo__x__1", "demo"),
        ("demo___1", "demo"),
        ("__backup_7_demo_x__1", "demo_x"),
        ("__backup_7f-0_demo__1", "demo"),
        ("__backup_7_python310_4.1.0", None),
        ("__backup__demo__1", None),
        ("__demo__1", None),
        ("_demo__1", None),
        ("demo__", None),
        ("1611__1", None),
        ("git__1", None),
        ("a.b__1", None),
        ("a-b__1", None),
    ],
)
def test_tags_of_the_shared_repository(tag, project):
    assert names.tag_project(tag) == project
