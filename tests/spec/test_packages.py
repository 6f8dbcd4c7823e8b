"""Lists of packages: what tools write is read, and nothing else breaks it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import packages
from registry.spec.packages import (
    CONDA,
    CYCLONEDX,
    SPDX,
    TYPES,
    Package,
    PackagesInvalid,
    differences,
    read,
)

NUMPY, PANDAS = Package("numpy", "pypi"), Package("pandas", "pypi")


NUMPY_URL, LIBC_URL = "pkg:pypi/numpy@2.2.6", "pkg:deb/debian/libc6@2.36"


def refs(url):
    return [{"referenceType": "cpe23Type"}, {"referenceType": "purl", "referenceLocator": url}]


DOCUMENTS = {
    SPDX: {
        "spdxVersion": "SPDX-2.3",
        "packages": [
            {"name": "numpy", "versionInfo": "2.2.6", "externalRefs": refs(NUMPY_URL)},
            {"name": "libc6", "versionInfo": "2.36", "externalRefs": refs(LIBC_URL)},
            {"name": "nameless-version", "externalRefs": None},
        ],
    },
    CYCLONEDX: {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [
            {"type": "library", "name": "numpy", "version": "2.2.6", "purl": NUMPY_URL},
            {
                "type": "library",
                "name": "libc6",
                "version": "2.36",
                "purl": LIBC_URL,
                "components": [{"type": "file", "name": "/etc/x", "version": "1"}],
            },
        ],
    },
    CONDA: [
        {"name": "numpy", "version": "2.2.6", "channel": "pypi", "build_string": "pypi_0"},
        {"name": "libc6", "version": "2.36", "channel": "conda-forge", "platform": "linux-64"},
    ],
}


@pytest.mark.parametrize("kind", TYPES)
def test_each_format_is_read(kind):
    found = read(kind, json.dumps(DOCUMENTS[kind]).encode())
    system = "conda" if kind == CONDA else "deb"
    assert found == {NUMPY: ("2.2.6",), Package("libc6", system): ("2.36",)}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("other", [*TYPES, None])
def test_a_document_of_another_format_is_not_taken_for_an_empty_list(kind, other):
    if kind == other:
        return
    document = json.dumps(DOCUMENTS[other] if other else {"packages": []}).encode()
    with pytest.raises(PackagesInvalid, match="no application/"):
        read(kind, document)


@given(st.sampled_from(TYPES), st.binary(max_size=60))
def test_bytes_of_any_kind_are_read_or_refused(kind, document):
    try:
        read(kind, document)
    except PackagesInvalid:
        return


def test_nesting_without_end_is_refused():
    deep = b'{"bomFormat":"CycloneDX","components":' + b'[{"components":' * 5000 + b"[]"
    with pytest.raises(PackagesInvalid):
        read(CYCLONEDX, deep + b"}]" * 5000 + b"}")
    with pytest.raises(PackagesInvalid, match="known here"):
        read("text/plain", b"")


def test_more_packages_than_may_be_are_refused(monkeypatch):
    monkeypatch.setattr(packages, "MAX_PACKAGES", 1)
    with pytest.raises(PackagesInvalid, match="more than 1 "):
        read(CONDA, json.dumps(DOCUMENTS[CONDA]).encode())


names = st.sampled_from([NUMPY, PANDAS, Package("numpy", "conda")])
lists = st.dictionaries(names, st.sampled_from([("1",), ("2",), ("1", "2")]))


@given(lists, lists)
def test_differences_lead_from_one_list_to_the_other(before, after):
    found = differences(before, after)
    made = dict(before)
    for each in found:
        assert each.before == before.get(each.package, ())
        made[each.package] = each.after
    assert {package: versions for package, versions in made.items() if versions} == after
    assert [each.package for each in found] == sorted(each.package for each in found)
    assert differences(before, before) == []


@pytest.mark.parametrize(
    "document",
    [
        b"[" + b"{}," * packages.MAX_OBJECTS + b"{}]",
        json.dumps([{"name": "one", "version": str(n)} for n in range(9)]).encode(),
    ],
    ids=["objects", "versions"],
)
def test_a_list_of_too_much_is_refused(document, monkeypatch):
    monkeypatch.setattr(packages, "MAX_PACKAGES", 8)
    with pytest.raises(PackagesInvalid, match="more than"):
        read(CONDA, document)
