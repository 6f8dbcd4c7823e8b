"""Access tokens of people, and the refresh tokens that their clients keep instead of passwords."""

from typing import Annotated

from msgspec import Meta

from auth.identity import Kind
from auth.policy import Verb
from registry.http.management.accounts import OfAccount, User
from registry.http.management.inputs import Pages
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import (
    TokenIssued,
    TokenPage,
    TokenView,
    TokenWanted,
    maybe,
    moment,
)
from registry.service.projects.access_tokens import AccessToken
from registry.spec.problems import Invalid, NotAllowed, TokenUnknown, TooMany

Whose = Annotated[User | None, Meta(description="Whose; without it, the caller's own.")]


class TokenListing(Pages, frozen=True, kw_only=True):
    """Which tokens are asked for."""

    user: Whose = None


class OfToken(OfAccount, frozen=True, kw_only=True):
    """What is asked of a token."""

    id: Annotated[str, Meta(min_length=1, max_length=64, description="Id of the token.")]


async def list_tokens(call: Call[TokenListing, None]) -> Reply:
    """List the tokens of an account."""
    asked = call.input
    leaf = await call.tenancy.access_tokens.page(_owner(call, asked.user), asked.after, asked.limit)
    return paged(TokenPage, leaf, token_view, lambda each: each.id)


async def create_token(call: Call[OfAccount, TokenWanted]) -> Reply:
    """Make an access token. Nobody makes one for somebody else: it would be them."""
    wanted = call.body
    principal = _owner(call, call.input.user)
    if principal != call.identity.name or call.identity.kind is not Kind.USER:
        raise NotAllowed("access tokens are made by their owner, a user: log in as that one")
    issued = await call.tenancy.access_tokens.create(
        principal,
        wanted.label,
        call.identity,
        scopes=wanted.scopes,
        expires=None if wanted.expires is None else wanted.expires.timestamp(),
    )
    login = principal.removeprefix("user:")
    return Reply(
        TokenIssued(token=token_view(issued.token), secret=issued.secret, login=login), 201
    )


async def remove_token(call: Call[OfToken, None]) -> Reply:
    """Revoke a token, with all that was made from it."""
    asked = call.input
    await call.tenancy.access_tokens.remove(_owner(call, asked.user), asked.id, call.identity)
    return Reply(status=204)


def _owner(
    call: Call[OfAccount, TokenWanted] | Call[TokenListing, None] | Call[OfToken, None],
    user: str | None,
) -> str:
    return call.identity.name if user is None else f"user:{user}"


def token_view(token: AccessToken) -> TokenView:
    """Describe a token."""
    return TokenView(
        id=token.id,
        label=token.label,
        created=moment(token.at),
        kind="refresh" if token.offline else "access",
        scopes=token.scopes,
        expires=maybe(token.expires),
    )


ROUTES = (
    Route.of(
        "GET /tokens",
        "token.list",
        Verb.ACCOUNT,
        "List access tokens and refresh tokens",
        list_tokens,
        TokenListing,
        TokenPage,
    ),
    Route.of(
        "POST /tokens",
        "token.create",
        Verb.ACCOUNT,
        "Make an access token",
        create_token,
        OfAccount,
        TokenIssued,
        statuses=(201,),
        body=TokenWanted,
        refusals=(Invalid, TooMany, NotAllowed),
    ),
    Route.of(
        "DELETE /tokens/{id}",
        "token.remove",
        Verb.ACCOUNT,
        "Revoke an access token or a refresh token",
        remove_token,
        OfToken,
        statuses=(204,),
        refusals=(TokenUnknown,),
    ),
)
