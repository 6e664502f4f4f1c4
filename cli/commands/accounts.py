"""Tenants, the people who work in them, and their tokens."""

from typing import Annotated

import typer

from cli.options import DEFAULT_HOME, HomeOption, Json, PasswordStdin, Slug
from cli.output import sentences

tenant = typer.Typer(help="Tenants.", no_args_is_help=True)
user = typer.Typer(help="People who work in a tenant.", no_args_is_help=True)
token = typer.Typer(help="API tokens and intake keys.", no_args_is_help=True)


@tenant.command("create")
def create_tenant(
    slug: Annotated[str, typer.Argument(help="Its short name, never changed: letters, digits, -")],
    email: Annotated[str, typer.Option(help="The first admin's address.")],
    name: Annotated[str | None, typer.Option(help="Its full name.")] = None,
    password_stdin: PasswordStdin = False,
    rate_class: Annotated[str, typer.Option(help="standard, high or unlimited.")] = "standard",
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a tenant with its first admin."""
    from cli.accounts import create_tenant, password_from_stdin

    with sentences():
        password = password_from_stdin() if password_stdin else None
    create_tenant(
        home,
        slug=slug,
        name=name or slug,
        email=email,
        password=password,
        rate_class=rate_class,
        as_json=as_json,
    )


@user.command("create")
def create_user(
    slug: Slug,
    email: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    role: Annotated[str, typer.Option(help="admin, supervisor, agent or viewer.")] = "agent",
    team: Annotated[list[str] | None, typer.Option(help="A team's name; may be repeated.")] = None,
    password_stdin: PasswordStdin = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a user who can sign in."""
    from cli.accounts import create_user, password_from_stdin

    with sentences():
        password = password_from_stdin() if password_stdin else None
    create_user(
        home,
        slug=slug,
        email=email,
        name=name,
        role=role,
        teams=team or [],
        password=password,
        as_json=as_json,
    )


@token.command("create")
def create_token(
    slug: Slug,
    name: Annotated[str, typer.Option(help="What it is for.")],
    email: Annotated[
        str | None, typer.Option(help="Whom it acts for; without, it is an intake key.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A permission it is limited to; may be repeated.")
    ] = None,
    rate_class: Annotated[str, typer.Option(help="standard, high or unlimited.")] = "standard",
    expires: Annotated[
        int | None, typer.Option(min=1, max=3650, metavar="DAYS", help="Else it does not expire.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a personal token, or an intake key that takes customers' tickets. Shown once."""
    from cli.accounts import create_token

    create_token(
        home,
        slug=slug,
        name=name,
        email=email,
        scopes=scope or [],
        rate_class=rate_class,
        days=expires,
        as_json=as_json,
    )
