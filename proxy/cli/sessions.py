"""`sidegate sessions`."""

from __future__ import annotations

import click

from proxy.cli.base import SidegateGroup, core
from proxy.cli.show import counted, echo_json, json_option, note, only, size, table, when

FIELDS = (
    "id",
    "account",
    "app_password",
    "protocol",
    "client",
    "backend",
    "started",
    "bytes_in",
    "bytes_out",
    "node",
)
"""Of `sessions list --json`."""


@click.group(cls=SidegateGroup)
def sessions() -> None:
    """Who is logged in now."""


@sessions.command("list")
@click.argument("account", required=False)
@json_option
def list_(account: str | None, as_json: bool) -> None:
    """List the live sessions, of one account or of all."""
    with core() as api:
        rows = api.get("sessions", account=account)
    if as_json:
        echo_json([only(row, FIELDS) for row in rows])
        return
    table(
        ("Id", "Account", "App password", "Protocol", "Client", "Program", "Started", "In", "Out", "Backend"),
        [
            (
                row["id"],
                row["account"],
                row["app_password"] or "",
                row["protocol"],
                row["client"],
                row["program"] or "",
                when(row["started"]),
                size(row["bytes_in"]),
                size(row["bytes_out"]),
                row["backend"],
            )
            for row in rows
        ],
        empty="Nobody is logged in.",
    )


@sessions.command()
@click.argument("account", required=False)
@click.option("--app", metavar="NAME-OR-ID", help="Of this app password; with ACCOUNT where its name is not unique.")
@click.option("--id", "session_id", metavar="ID", help="This one session.")
@json_option
def cut(account: str | None, app: str | None, session_id: str | None, as_json: bool) -> None:
    """End sessions now.

    Nothing is revoked: a program that has an app password may come back at
    once. To keep it out: sidegate passwords revoke.
    """
    if (account is None and app is None) == (session_id is None):
        raise click.UsageError("Give ACCOUNT, --app or --id.")
    with core() as api:
        done = api.post("sessions/cut", {"account": account, "app_password": app, "id": session_id})
    if as_json:
        echo_json({"sessions_cut": done["sessions_cut"]})
    else:
        note(f"{counted(done['sessions_cut'], 'session')} cut.")
