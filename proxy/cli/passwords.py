"""`sidegate passwords`."""

from __future__ import annotations

from typing import Any

import click

from proxy.cli.ask import confirm, dry_run_option, yes_option
from proxy.cli.base import Failure, SidegateGroup, core, quoted
from proxy.cli.consequences import consequences, note_what_is_left
from proxy.cli.options import DURATION, EXPIRY, NETWORK, SCOPES
from proxy.cli.show import counted, echo_json, json_option, note, only, table, when

FIELDS = (
    "id",
    "account",
    "owner",
    "name",
    "scopes",
    "networks",
    "created",
    "expires",
    "last_used",
    "sessions",
    "revoked",
)
"""Of `passwords list --json`."""


@click.group(cls=SidegateGroup)
def passwords() -> None:
    """App passwords: one secret for one app."""


@passwords.command()
@click.argument("account")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPES",
    type=SCOPES,
    help="What it opens: imap, smtp, ldap, separated by commas.  [default: imap,smtp]",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    type=NETWORK,
    help="Only from there. May be given again.",
)
@click.option("--expires", metavar="WHEN", type=EXPIRY, help="90d, 12h, or a date such as 2027-01-31.")
@click.option("--owner", metavar="PERSON", help="For a shared mailbox: the member it is for.")
@json_option
def create(
    account: str,
    name: str,
    scopes: tuple[str, ...],
    networks: tuple[str, ...],
    expires: str | None,
    owner: str | None,
    as_json: bool,
) -> None:
    """Make an app password and print it, this once.

    NAME tells apps apart: "Thunderbird on the laptop". Only the secret goes to
    stdout, so that it can be piped.
    """
    body = {
        "name": name,
        "scopes": _each(scopes),
        "networks": list(networks),
        "expires": expires,
        "owner": owner,
    }
    with core() as api:
        created = api.post(f"accounts/{quoted(account)}/app-passwords", body)
    if as_json:
        echo_json({key: created[key] for key in ("id", "account", "name", "secret", *FIELDS)})
        return
    note(f"App password {created['name']!r} for {created['account']}: {_good_for(created)}.")
    note("It is shown only this once:\n")
    click.echo(created["secret"])
    note(f"\nIn the program: user name {created['account']}, and this as its password (hyphens do not matter).")


def _each(scopes: tuple[str, ...]) -> list[str]:
    """Scopes from options that may each hold several."""
    return [scope.strip() for scope in ",".join(scopes).split(",") if scope.strip()]


def _good_for(row: dict[str, Any]) -> str:
    """imap, smtp, from 192.0.2.0/24, ends in 89 d."""
    where = f", from {', '.join(row['networks'])}" if row["networks"] else ""
    ends = f", ends {when(row['expires'])}" if row["expires"] else ""
    return f"{', '.join(row['scopes'])}{where}{ends}"


@passwords.command()
@click.argument("account")
@click.argument("name", metavar="NAME-OR-ID")
@click.argument("new")
@json_option
def rename(account: str, name: str, new: str, as_json: bool) -> None:
    """Give an app password another name.

    Its secret stays, and so do its sessions.
    """
    with core() as api:
        row = api.post("app-passwords/rename", {"account": account, "app_password": name, "name": new})
    if as_json:
        echo_json(only(row, FIELDS))
    else:
        note(f"It is called {row['name']!r} now.")


@passwords.command()
@click.argument("account")
@click.argument("name", metavar="NAME-OR-ID")
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPES", type=SCOPES, help="Opens only these of what it opens now."
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    type=NETWORK,
    help="Only from there, which must lie in where it works now. May be given again.",
)
@click.option("--expires", metavar="WHEN", type=EXPIRY, help="Ends then, sooner than now: 90d, 12h, or a date.")
@json_option
def change(
    account: str, name: str, scopes: tuple[str, ...], networks: tuple[str, ...], expires: str | None, as_json: bool
) -> None:
    """Narrow what an app password is good for; its secret stays.

    Its sessions are cut when scopes or networks change: what may go on comes
    back. For more than it was made for, create a new one.
    """
    if not scopes and not networks and expires is None:
        raise click.UsageError("Give --scope, --network or --expires.")
    body = {
        "account": account,
        "app_password": name,
        "scopes": _each(scopes),
        "networks": list(networks),
        "expires": expires,
    }
    with core() as api:
        done = api.post("app-passwords/change", body)
    row = done["app_password"]
    if as_json:
        echo_json({**done, "app_password": only(row, FIELDS)})
        return
    note(f"{row['name']!r} for {row['account']}: {_good_for(row)}; {counted(done['sessions_cut'], 'session')} cut.")
    note_what_is_left(done)


@passwords.command("list")
@click.argument("account", required=False)
@json_option
def list_(account: str | None, as_json: bool) -> None:
    """List app passwords, of one account or of all.

    Revoked ones stay in the list: an old phone that still tries shows there.
    """
    with core() as api:
        rows = api.get("app-passwords", account=account)
    if as_json:
        echo_json([only(row, FIELDS) for row in rows])
        return
    _table(rows, empty=f"No app passwords: sidegate passwords create {account or 'ACCOUNT'} NAME")


@passwords.command()
@click.argument("account", required=False)
@click.argument("names", nargs=-1, metavar="[NAME-OR-ID]...")
@click.option("--all", "every", is_flag=True, help="Every app password of the account.")
@click.option(
    "--unused-for",
    metavar="TIME",
    type=DURATION,
    help="Of all accounts: what was not used for 180d, say.",
)
@dry_run_option
@yes_option
@json_option
def revoke(
    account: str | None,
    names: tuple[str, ...],
    every: bool,
    unused_for: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Revoke app passwords and end their sessions.

    Returns when the sessions are closed and says how many they were.
    """
    if unused_for is not None and account is None and not every:
        chosen = "unused"
    elif unused_for is None and account is not None and every != bool(names):
        chosen = "all" if every else "named"
    else:
        raise click.UsageError("Give ACCOUNT and names or ids, or ACCOUNT --all, or --unused-for alone.")
    with core() as api:
        if chosen != "named" or dry_run:
            rows = [row for row in api.get("app-passwords", account=account, unused_for=unused_for) if _live(row)]
            if chosen == "named":
                rows = [row for row in rows if row["name"] in names or str(row["id"]) in names]
            if not rows:
                raise Failure("no live app password matches")
            if dry_run:
                _would_revoke(rows, as_json)
                return
            if not yes and not as_json:
                _table(rows, empty="")
            confirm(f"Revoke {counted(len(rows), 'app password')}?", yes=yes)
        body = {"account": account, "names": list(names), "all": every, "unused_for": unused_for}
        done = api.post("app-passwords/revoke", body, patient=chosen == "unused")
    if as_json:
        echo_json({key: done[key] for key in ("revoked", "sessions_cut", "chat") if key in done})
        return
    note(f"{consequences(done)}.")
    note_what_is_left(done)


def _live(row: dict[str, Any]) -> bool:
    from datetime import UTC, datetime

    if row["revoked"] is not None:
        return False
    return row["expires"] is None or datetime.fromisoformat(row["expires"]) > datetime.now(UTC)


def _would_revoke(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        echo_json([only(row, FIELDS) for row in rows])
    else:
        _table(rows, empty="")
        note(f"{counted(len(rows), 'app password')} would be revoked; nothing was changed.")


def _table(rows: list[dict[str, Any]], *, empty: str) -> None:
    table(
        ("Id", "Account", "Name", "Owner", "Scopes", "Networks", "Created", "Last used", "Sessions", "State"),
        [
            (
                str(row["id"]),
                row["account"],
                row["name"],
                row["owner"] if row["owner"] != row["account"] else "",
                ",".join(row["scopes"]),
                ",".join(row["networks"]) or "any",
                when(row["created"]),
                _last_use(row["last_used"]),
                str(row["sessions"]),
                _state(row),
            )
            for row in rows
        ],
        empty=empty,
    )


def _state(row: dict[str, Any]) -> str:
    if row["revoked"] is not None:
        return f"revoked {when(row['revoked'])}"
    if not _live(row):
        return f"expired {when(row['expires'])}"
    return "live" if row["expires"] is None else f"ends {when(row['expires'])}"


def _last_use(use: dict[str, Any] | None) -> str:
    if use is None:
        return "never"
    program = f" ({use['program']})" if use["program"] else ""
    return f"{when(use['time'])}, {use['protocol']} from {use['address']}{program}"
