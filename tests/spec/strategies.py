"""Hypothesis strategies for the protocol's values, valid by construction."""

from hypothesis import strategies as st

from registry.spec import requests as r
from registry.spec.digest import ALGORITHMS, Digest
from registry.spec.names import MAX_NAME, RepositoryName, SessionId, Tag
from registry.spec.pagination import MAX_LAST, MAX_PAGE, Page

hexadecimal = st.sampled_from("0123456789abcdef")


def hex_text(digits: int) -> st.SearchStrategy[str]:
    return st.text(hexadecimal, min_size=digits, max_size=digits)


digests = st.sampled_from(sorted(ALGORITHMS)).flatmap(
    lambda name: hex_text(ALGORITHMS[name]).map(lambda digits: Digest.parse(f"{name}:{digits}"))
)
words = st.one_of(
    st.sampled_from(["manifests", "blobs", "uploads", "tags", "list", "referrers", "v2"]),
    st.text(st.sampled_from("abz019"), min_size=1, max_size=6),
)
segments = st.lists(words, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".", "_", "__", "-", "---"]).map(lambda glue: glue.join(parts))
)
repositories = (
    st.lists(segments, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda text: len(text) <= MAX_NAME)
    .map(RepositoryName.parse)
)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True).map(Tag.parse)
sessions = hex_text(64).map(SessionId.parse)
references = st.one_of(digests, tags)
pages = st.builds(
    Page,
    st.none() | st.integers(0, MAX_PAGE),
    st.none() | st.text(st.characters(codec="utf-8"), max_size=MAX_LAST),
)
media_types = st.from_regex(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,20}/[a-z0-9][a-z0-9.+-]{0,20}", fullmatch=True
)
booleans = st.booleans()


@st.composite
def starts(draw: st.DrawFn) -> r.StartUpload:
    digest = draw(st.none() | digests)
    algorithm = draw(st.none() | st.sampled_from(sorted(ALGORITHMS)))
    mount = draw(st.none() | digests)
    return r.StartUpload(
        draw(repositories),
        digest,
        digest.algorithm if digest and algorithm else algorithm,
        mount,
        draw(st.none() | repositories) if mount else None,
    )


@st.composite
def manifest_puts(draw: st.DrawFn) -> r.PutManifest:
    reference = draw(references)
    listed = draw(st.lists(tags, unique=True, max_size=12)) if isinstance(reference, Digest) else []
    return r.PutManifest(draw(repositories), reference, tuple(listed))


requests = st.one_of(
    st.builds(r.Ping, booleans),
    st.builds(r.GetBlob, repositories, digests, booleans),
    st.builds(r.DeleteBlob, repositories, digests),
    starts(),
    st.builds(r.GetUpload, repositories, sessions, booleans),
    st.builds(r.AppendUpload, repositories, sessions),
    st.builds(r.FinishUpload, repositories, sessions, digests),
    st.builds(r.CancelUpload, repositories, sessions),
    st.builds(r.GetManifest, repositories, references, booleans),
    manifest_puts(),
    st.builds(r.DeleteManifest, repositories, references),
    st.builds(r.ListTags, repositories, pages, booleans),
    st.builds(
        r.ListReferrers,
        repositories,
        digests,
        st.lists(media_types, unique=True, max_size=3).map(tuple),
        pages,
        booleans,
    ),
    st.builds(r.ListRepositories, pages, booleans),
)

METHODS = {
    r.DeleteBlob: "DELETE",
    r.StartUpload: "POST",
    r.AppendUpload: "PATCH",
    r.FinishUpload: "PUT",
    r.CancelUpload: "DELETE",
    r.PutManifest: "PUT",
    r.DeleteManifest: "DELETE",
}


def method_of(request: r.Request) -> str:
    return METHODS.get(type(request)) or ("HEAD" if request.head else "GET")
