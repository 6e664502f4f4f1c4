"""Tenants, people and tokens, for an operator at the machine."""

import secrets
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import get_args
from uuid import UUID

import typer

from cli.output import Mistake, answer, answers, command, table
from cli.place import database, settings_of, tenant_named
from domain.permissions import Role
from models.session import Work
from services import people
from services.auth import hash_password
from services.customers import clean_email
from services.tickets import clock
from services.tokens import RateClass
from services.tokens import create_token as make_token
from stack.home import Home


@command
async def create_tenant(
    home: Path,
    *,
    slug: str,
    name: str,
    email: str,
    password: str | None,
    rate_class: str,
    as_json: bool,
) -> None:
    """Makes a tenant and shows how its admin signs in; a password that was given is not shown."""
    email = clean_email(email)  # as signing in asks for it
    chosen = password or new_password()
    async with database(settings_of(Home(home))) as opened:
        founded = await people.create_tenant_with_admin(
            opened,
            slug=slug,
            name=name,
            email=email,
            password=chosen,
            rate_class=rate_class_named(rate_class),
        )
    made = {"tenant": slug, "tenant_id": str(founded.tenant_id), "email": email}
    _show(made | ({} if password else {"password": chosen}), as_json=as_json)


@command
async def create_user(
    home: Path,
    *,
    slug: str,
    email: str,
    name: str,
    role: str,
    teams: Sequence[str],
    password: str | None,
    as_json: bool,
) -> None:
    """Makes a user in their teams and shows how they sign in; as `create_tenant`."""
    if role not in tuple(Role):
        raise Mistake(f"There is no role {role!r}. Roles: {', '.join(Role)}.")
    email = clean_email(email)
    chosen = password or new_password()
    hashed = await hash_password(chosen)
    async with database(settings_of(Home(home))) as opened:
        tenant_id = await tenant_named(opened, slug)
        async with opened.transaction(tenant_id) as work:
            user_id = await people.create_user(
                work, email=email, name=name, role=Role(role), password_hash=hashed, now=clock()
            )
            for team in teams:
                await people.put_member(work, await _team(work, team), user_id, lead=False)
    made = {"tenant": slug, "user_id": str(user_id), "email": email, "role": role}
    _show(made | ({} if password else {"password": chosen}), as_json=as_json)


@command
async def create_token(
    home: Path,
    *,
    slug: str,
    name: str,
    email: str | None,
    scopes: Sequence[str],
    rate_class: str,
    days: int | None,
    as_json: bool,
) -> None:
    """Makes a token and shows its secret, which is kept nowhere."""
    now = clock()
    expires_at = None if days is None else now + timedelta(days=days)
    async with database(settings_of(Home(home))) as opened:
        tenant_id = await tenant_named(opened, slug)
        async with opened.transaction(tenant_id) as work:
            user_id = None
            if email is not None:
                user = await work.row(
                    "select id from users where tenant_id = :tenant and email = lower(:email)",
                    {"tenant": tenant_id, "email": email},
                )
                if user is None:
                    raise Mistake(f"Nobody in {slug} has the address {email}.")
                user_id = user["id"]
            made = await make_token(
                work,
                kind="intake" if user_id is None else "personal",
                name=name,
                user_id=user_id,
                scopes=frozenset(scopes),
                rate_class=rate_class_named(rate_class),
                now=now,
                expires_at=expires_at,
            )
    shown = {"tenant": slug, "token_id": str(made.id), "token": made.secret}
    if expires_at is not None:
        shown["expires_at"] = expires_at.isoformat(timespec="seconds")
    _show(shown, as_json=as_json)


def password_from_stdin() -> str:
    """The password an operator types twice unseen, or the first line a script sends.

    Never an argument: those can be read by everybody on the machine, and stay in a shell's history.
    """
    if sys.stdin.isatty():
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    sent = sys.stdin.readline().rstrip("\r\n")
    if not sent:
        raise Mistake("There is no password on the standard input.")
    return sent


def new_password() -> str:
    """One that is easily copied and not easily guessed."""
    return secrets.token_urlsafe(12)


def rate_class_named(name: str) -> RateClass:
    """The rate class of that name. Raises Mistake."""
    for known in get_args(RateClass):
        if known == name:
            found: RateClass = known
            return found
    raise Mistake(f"There is no rate class {name!r}. Classes: {', '.join(get_args(RateClass))}.")


async def _team(work: Work, name: str) -> UUID:
    row = await work.row(
        "select id from teams where tenant_id = :tenant and name = :name",
        {"tenant": work.tenant_id, "name": name},
    )
    if row is None:
        raise Mistake(f"There is no team {name!r}.")
    team_id: UUID = row["id"]
    return team_id


def _show(made: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        answer(made)
        return
    shown = table("", "")
    shown.show_header = False
    for name, value in made.items():
        shown.add_row(name.replace("_", " "), value)
    answers.print(shown)
