"""`sidegate why`, `auth test` and `audit`: what happened, what would, and who did it."""

from __future__ import annotations

from typing import Any

import click

from proxy.cli.ask import read_secret
from proxy.cli.base import REFUSED, Failure, SidegateCommand, SidegateGroup, TryAgain, core, quoted
from proxy.cli.show import clock, echo_json, echo_json_line, fields, json_option, note, only, safe, when

AUDIT_FIELDS = ("time", "event", "actor", "account", "app_password", "protocol", "network", "reason", "detail")
"""Of a line of `audit --json`."""


@click.command(cls=SidegateCommand)
@click.argument("account")
@json_option
def why(account: str, as_json: bool) -> None:
    """The last refusals of an account, with the true reason and what to do."""
    with core() as api:
        rows = api.get(f"accounts/{quoted(account)}/refusals")
    if as_json:
        echo_json(rows)
        return
    if not rows:
        note(
            f"Nothing was refused for {account}. If a program cannot log in, it does not reach sidegate, "
            "or it uses another login name: see sidegate's log."
        )
    for row in rows:
        times = "" if row["count"] == 1 else f", {row['count']} times since {when(row['first'])}"
        program = f" by {row['program']}" if row["program"] else ""
        app = f", app password {row['app_password']!r}" if row["app_password"] else ""
        click.echo(safe(f"{when(row['time'])}{times}: {row['protocol']} from {row['network']}{program}{app}"))
        click.echo(safe(f"    {row['meaning']} ({row['reason']})"))
        click.echo(safe(f"    {row['todo']}"))


@click.group(cls=SidegateGroup)
def auth() -> None:
    """Try a secret without a mail program."""


@auth.command("test")
@click.argument("account")
@click.option("--protocol", type=click.Choice(["imap", "smtp", "ldap"]), default="imap", show_default=True)
@click.option("--from", "address", default="::1", metavar="ADDRESS", help="As if it came from there.  [default: ::1]")
@json_option
def test(account: str, protocol: str, address: str, as_json: bool) -> None:
    """Say what a login would be answered, and why.

    The secret is asked for, or read from stdin. No session begins, and nothing
    is counted. Exit status 1 if the login would be refused.
    """
    secret = read_secret(None, f"App password of {account}")
    body = {"login_name": account, "secret": secret, "protocol": protocol, "address": address}
    with core() as api:
        answer = api.post("auth-test", body)
    if as_json:
        echo_json(answer)
    else:
        pairs = [
            ("Answer", "accepted" if answer["accepted"] else f"refused ({answer['reason']})"),
            ("Account", answer["account"]),
            ("App password", answer["app_password"]),
            ("Why", answer["meaning"]),
            ("Do", answer["todo"]),
        ]
        fields([(name, value) for name, value in pairs if value])
    if not answer["accepted"]:
        raise SystemExit(REFUSED)


@click.command(cls=SidegateCommand)
@click.option("--account", metavar="ACCOUNT", help="Of this account, also of one that is removed.")
@click.option("--since", metavar="WHEN", help="24h, 7d, or a date or moment.")
@click.option("--follow", is_flag=True, help="Go on with new records as they come; without --since only those.")
@click.option("--verify", is_flag=True, help="Check the hash chain instead: was anything changed or taken out?")
@json_option
def audit(account: str | None, since: str | None, follow: bool, verify: bool, as_json: bool) -> None:
    """What was changed and who logged in, the oldest first."""
    if verify:
        _verify(as_json)
        return
    with core() as api:
        try:
            for row in api.lines("audit", account=account, since=since, follow="true" if follow else None):
                if as_json:
                    echo_json_line(only(row, AUDIT_FIELDS))
                else:
                    click.echo(_line(row))
            if follow:
                raise TryAgain("the core stops; go on with --since once it runs again")
        except KeyboardInterrupt:
            if not follow:
                raise


def _verify(as_json: bool) -> None:
    with core() as api:
        problems = api.get("audit/verify")["problems"]
    if as_json:
        echo_json({"problems": problems})
    if problems:
        raise Failure("the audit was tampered with or is damaged:\n" + "\n".join(map(safe, problems)))
    note("The audit is whole: every record is as it was written.")


def _line(row: dict[str, Any]) -> str:
    parts = [clock(row["time"]), row["event"], row["account"]]
    parts.append(f"{row['app_password']!r}" if row["app_password"] else None)
    parts += [f"{name}={row[name]}" for name in ("protocol", "network", "reason") if row[name]]
    parts += [row["detail"], f"by {row['actor']}"]
    return safe("  ".join(part for part in parts if part))
