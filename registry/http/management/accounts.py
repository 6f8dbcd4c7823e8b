"""Accounts of people: the caller's own, and for administrators those of others."""

from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.inputs import Nothing, Pages
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import (
    Bootstrap,
    CallerView,
    PasswordChange,
    UserPage,
    UserTerms,
    UserView,
    moment,
)
from registry.service.projects.accounts import Account, AccountTerms
from registry.spec.problems import (
    AccountExists,
    AccountUnknown,
    BootstrapRefused,
    Changed,
    Invalid,
    PrincipalInvalid,
)

User = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="Name of the user, without user: before it.",
        examples=["alice"],
    ),
]


class OfUser(Nothing, frozen=True, kw_only=True):
    """What is asked of a user."""

    user: User


class OfAccount(Nothing, frozen=True, kw_only=True):
    """What is asked of the caller's own account, or of another's."""

    user: Annotated[User | None, Meta(description="Whose; without it, the caller's own.")] = None


async def whoami(call: Call[Nothing, None]) -> Reply:
    """Tell whom the registry takes the caller for."""
    identity = call.identity
    administrator, groups = False, identity.groups
    if call.managed.projects is not None:
        standing = await call.tenancy.directory.standing(identity)
        administrator = standing.administrator
        groups = groups if standing.groups is None else standing.groups
    return Reply(
        CallerView(
            name=identity.name,
            kind=identity.kind,
            scheme=identity.scheme,
            groups=tuple(sorted(groups)),
            administrator=administrator,
            ceiling=None if identity.ceiling is None else str(identity.ceiling),
            credential=identity.credential,
            address=call.address,
        )
    )


async def list_users(call: Call[Pages, None]) -> Reply:
    """List what is known of users."""
    leaf = await call.tenancy.accounts.page(call.input.after, call.input.limit)
    return paged(UserPage, leaf, user_view, lambda each: each.name)


async def get_user(call: Call[OfUser, None]) -> Reply:
    """Describe a user."""
    account = await call.tenancy.accounts.get(call.input.user)
    return Reply(user_view(account), version=account.version)


async def put_user(call: Call[OfUser, UserTerms]) -> Reply:
    """Make a local account, with a password, or say what is to be known of a user."""
    wanted = call.body
    terms = AccountTerms(wanted.groups, wanted.administrator, wanted.blocked)
    accounts, user, version = call.tenancy.accounts, call.input.user, call.version()
    if wanted.password is None:
        account = await accounts.put(user, terms, call.identity, version)
        return Reply(user_view(account), version=account.version)
    if version:
        raise Changed
    account = await accounts.create(user, wanted.password, terms, call.identity)
    return Reply(user_view(account), 201, version=account.version)


async def remove_user(call: Call[OfUser, None]) -> Reply:
    """End an account, with its memberships and tokens."""
    await call.tenancy.accounts.remove(call.input.user, call.identity)
    return Reply(status=204)


async def set_password(call: Call[OfAccount, PasswordChange]) -> Reply:
    """Change a password: one's own, or for administrators another's."""
    user, accounts = call.input.user, call.tenancy.accounts
    own = call.identity.name.removeprefix("user:")
    if user is not None and user != own:
        await accounts.set_password(user, call.body.password, call.identity)
    else:
        # Not under the name by which it logs in: that it did, each time, would end the wait.
        async with call.guessing(f"password of {own}"):
            await accounts.set_password(own, call.body.password, call.identity, call.body.current)
    return Reply(status=204)


async def bootstrap(call: Call[Nothing, Bootstrap]) -> Reply:
    """Make the first administrator: whoever knows the secret may, once."""
    given = call.body
    async with call.guessing("bootstrap secret"):
        account = await call.tenancy.accounts.bootstrap(given.secret, given.name, given.password)
    return Reply(user_view(account), 201, version=account.version)


def user_view(account: Account) -> UserView:
    """Describe a user."""
    return UserView(
        name=account.name,
        local=account.local,
        created=moment(account.at),
        by=account.by,
        administrator=account.administrator,
        blocked=account.blocked,
        groups=account.groups,
    )


ROUTES = (
    Route.of(
        "GET /whoami",
        "whoami",
        Verb.ENTER,
        "Tell whom the registry takes the caller for",
        whoami,
        Nothing,
        CallerView,
    ),
    Route.of("GET /users", "user.list", Verb.GOVERN, "List users", list_users, Pages, UserPage),
    Route.of(
        "GET /users/{user*}",
        "user.get",
        Verb.ACCOUNT,
        "Describe a user",
        get_user,
        OfUser,
        UserView,
        refusals=(AccountUnknown,),
    ),
    Route.of(
        "PUT /users/{user*}",
        "user.put",
        Verb.GOVERN,
        "Make a local account, or say what is to be known of a user",
        put_user,
        OfUser,
        UserView,
        statuses=(201, 200),
        body=UserTerms,
        conditional=True,
        refusals=(AccountExists, Invalid, PrincipalInvalid, Changed),
    ),
    Route.of(
        "DELETE /users/{user*}",
        "user.remove",
        Verb.GOVERN,
        "End an account",
        remove_user,
        OfUser,
        statuses=(204,),
        refusals=(AccountUnknown,),
    ),
    Route.of(
        "PUT /password",
        "user.password",
        Verb.ACCOUNT,
        "Change a password",
        set_password,
        OfAccount,
        statuses=(204,),
        body=PasswordChange,
        refusals=(AccountUnknown, Invalid),
    ),
    Route.of(
        "POST /bootstrap",
        "user.bootstrap",
        None,
        "Make the first administrator",
        bootstrap,
        Nothing,
        UserView,
        statuses=(201,),
        body=Bootstrap,
        refusals=(BootstrapRefused, AccountExists, Invalid),
    ),
)
