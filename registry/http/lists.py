"""Tags and the catalog on the wire: end-8, and Docker's ``_catalog``."""

from typing import Any

import msgspec

from registry.http.answer import Answer, next_page
from registry.http.call import Call
from registry.spec.pagination import Page
from registry.spec.requests import ListRepositories, ListTags, Ping

_JSON = ("Content-Type", "application/json")


async def ping(call: Call[Ping]) -> Answer:  # noqa: ARG001 -- all handlers look alike
    """Say that this is a registry (end-1)."""
    return Answer(200, (_JSON,), b"{}")


async def list_tags(call: Call[ListTags]) -> Answer:
    """List a repository's tags, all or a page of them (end-8)."""
    asked = call.request
    page = _bounded(asked.page, call)
    found = await call.tags.page(call.place, page)
    headers = [_JSON]
    if found.more and found.tags:
        following = ListTags(asked.repository, Page(page.n, found.tags[-1]))
        headers.append(next_page(following))
    return Answer(
        200, headers, msgspec.json.encode({"name": str(asked.repository), "tags": found.tags})
    )


async def list_repositories(call: Call[ListRepositories]) -> Answer:
    """List the repositories that the caller may pull from."""
    asked = call.request
    page = _bounded(asked.page, call)
    visible = call.server.policy.visible(call.identity, page.last or "", call.address)
    found = await call.server.services.catalog.page(page, visible)
    headers = [_JSON]
    if found.more and found.repositories:
        following = ListRepositories(Page(page.n, found.repositories[-1]))
        headers.append(next_page(following))
    return Answer(
        200, headers, msgspec.json.encode({"repositories": found.repositories}, enc_hook=str)
    )


def _bounded(page: Page, call: Call[Any]) -> Page:
    """Cut the number that the client asked for; one that asks for all tags gets them."""
    most = call.server.limits.page
    return page if page.n is None or page.n <= most else Page(most, page.last)
