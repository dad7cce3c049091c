"""`sidegate accounts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxy.cli.ask import confirm, dry_run_option, read_names, read_secret, yes_option
from proxy.cli.base import Failure, SidegateGroup, core, quoted
from proxy.cli.consequences import consequences, note_what_is_left
from proxy.cli.options import EXPIRY
from proxy.cli.show import counted, echo_json, fields, json_option, note, only, safe, table, when
from proxy.domain.model import AccountKind, MfaState

FIELDS = ("id", "account", "kind", "login_names", "mfa", "enabled", "app_passwords", "factors", "last_sign_in")
"""Of `accounts list --json`."""
DETAILS = (*FIELDS, "name", "backend_name", "admin", "owner", "members", "created")
"""Of `accounts show --json`."""


@click.group(cls=SidegateGroup)
def accounts() -> None:
    """Persons, shared mailboxes and services that log in."""


@accounts.command()
@click.argument("address")
@click.option("--kind", type=click.Choice([kind.value for kind in AccountKind]), default="person", show_default=True)
@click.option(
    "--alias", "aliases", multiple=True, metavar="NAME", help="Another login name, or a DN. May be given again."
)
@click.option("--backend-name", metavar="NAME", help="What the backend calls it, if its template does not fit.")
@click.option("--name", metavar="NAME", help="Display name.")
@click.option("--owner", metavar="ACCOUNT", help="Of a service: the person who answers for it.")
@click.option("--member", "members", multiple=True, metavar="ACCOUNT", help="Of a shared mailbox. May be given again.")
@click.option("--admin", is_flag=True, help="This person administers sidegate in the portal.")
@click.option("--password-file", metavar="FILE|-", help="Account password for the portal, from a file or stdin (-).")
@json_option
def add(
    address: str,
    kind: str,
    aliases: tuple[str, ...],
    backend_name: str | None,
    name: str | None,
    owner: str | None,
    members: tuple[str, ...],
    admin: bool,
    password_file: str | None,
    as_json: bool,
) -> None:
    """Add an account.

    The account password is for the portal; it never opens a mailbox.
    """
    body = {
        "account": address,
        "kind": kind,
        "aliases": list(aliases),
        "backend_name": backend_name,
        "name": name,
        "owner": owner,
        "members": list(members),
        "admin": admin,
        "password": read_secret(password_file, "Account password") if password_file is not None else None,
    }
    with core() as api:
        account = api.post("accounts", body)
    if as_json:
        echo_json(only(account, DETAILS))
        return
    note(f"{account['account']} is added. Next: sidegate passwords create {account['account']} NAME")


@accounts.command("set-password")
@click.argument("account")
@click.option("--password-file", metavar="FILE|-", help="From a file or stdin (-); else it is asked for.")
def set_password(account: str, password_file: str | None) -> None:
    """Give a person another account password.

    It is for the portal, where the person is signed out; it never opens a mailbox. App passwords stay as they are.
    """
    password = read_secret(password_file, "Account password", twice=True)
    with core() as api:
        changed = api.patch(f"accounts/{quoted(account)}", {"password": password})
    note(f"{changed['account']} has another account password.")


@accounts.command("set-password-link")
@click.argument("account")
@click.option("--expires", metavar="WHEN", type=EXPIRY, help="12h, 7d, or a date such as 2027-01-31.  [default: 1d]")
@json_option
def set_password_link(account: str, expires: str | None, as_json: bool) -> None:
    """Make a link under which a person sets their account password, and print it, this once.

    It works once, and only the newest one does. Send it over a channel that
    is the person's alone. Only the link goes to stdout.
    """
    with core() as api:
        issued = api.post(f"accounts/{quoted(account)}/password-link", {"expires": expires})
    if as_json:
        echo_json(only(issued, ("account", "link", "expires")))
        return
    note(f"Under this link {issued['account']} sets an account password. It ends {when(issued['expires'])}.")
    note("It works once and is shown only this once:\n")
    click.echo(issued["link"])


@accounts.command("enrolment-code")
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--pending", is_flag=True, help="Everybody who has a second factor to set up: MFA enabled, and none yet.")
@click.option("--from-file", metavar="FILE|-", help="Accounts from a file or stdin (-), one a line.")
@click.option("--expires", metavar="WHEN", type=EXPIRY, help="12h, 14d, or a date such as 2027-01-31.  [default: 7d]")
@dry_run_option
@yes_option
@json_option
def enrolment_code(
    accounts: tuple[str, ...],
    pending: bool,
    from_file: str | None,
    expires: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make codes with which people set up their first second factor, and print them, this once.

    A code works once, and only the newest one does. Hand it over in person or
    in a letter, apart from the account password. Only the code goes to stdout;
    of several accounts it is CSV (account, code, expires, portal), for letters.
    """
    if bool(accounts) + pending + (from_file is not None) != 1:
        raise click.UsageError("Name accounts, or give --pending or --from-file.")
    with core() as api:
        if pending:
            rows = api.get("accounts", mfa=MfaState.ENABLED.value)
            names = [row["account"] for row in rows if row["kind"] == AccountKind.PERSON and not row["factors"]]
        else:
            names = list(accounts) if from_file is None else read_names(from_file)
        if not names:
            raise Failure("nobody has a second factor to set up" if pending else f"{from_file} names no accounts")
        if dry_run:
            note(f"{counted(len(names), 'code')} would be made, for {safe(', '.join(names))}.")
            return
        if len(names) > 1:
            confirm(f"Make {counted(len(names), 'enrolment code')}? Older ones work no more.", yes=yes)
        made = (api.post(f"accounts/{quoted(name)}/enrolment-code", {"expires": expires}) for name in names)
        if as_json:
            shown = [only(issued, ("account", "code", "expires")) for issued in made]
            echo_json(shown[0] if accounts and len(names) == 1 else shown)
        elif len(names) == 1:
            (issued,) = made
            note(f"Enrolment code of {issued['account']}, until {when(issued['expires'])}. Shown only this once:\n")
            click.echo(issued["code"])
            note(f"\nThe person signs in at {issued['portal']} and is asked for it.")
        else:
            click.echo("account,code,expires,portal")
            for issued in made:
                click.echo(",".join(issued[field] for field in ("account", "code", "expires", "portal")))
            note("These are shown only this once. Each person signs in at the portal and is asked for theirs.")


@accounts.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@dry_run_option
@yes_option
@json_option
def import_file(file: Path, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Add the accounts of a CSV file.

    \b
    The first line names the columns, in any order:
      address        required
      kind           person (default), shared, service
      name           display name
      aliases        further login names, separated by spaces
      dn             what people bind with in LDAP, if account_dn does not fit
      backend_name   what the backend calls it, if its template does not fit
      owner          of a service: the person who answers for it
      members        of a shared mailbox: persons, separated by spaces
      admin          yes or no (default)

    All mistakes are listed at once and nothing is added then. Accounts that
    are there already are left as they are, so the same file can be run again.
    """
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise Failure(f"{file}:{line}: is not UTF-8; save the file as UTF-8 and try again") from None
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from None
    body: dict[str, object] = {"name": str(file), "text": text}
    with core() as api:
        plan = api.post("accounts/import", {**body, "dry_run": True}, patient=True)
        if not dry_run and plan["added"]:
            confirm(f"Add {counted(plan['added'], 'account')}?", yes=yes)
            plan = api.post("accounts/import", body, patient=True)
    if as_json:
        echo_json(plan)
        return
    verb = "would be added" if dry_run else "added"
    note(f"{counted(plan['added'], 'account')} {verb}, {plan['already_there']} there already.")


@accounts.command("list")
@click.option("--mfa", type=click.Choice([state.value for state in MfaState]), help="Only accounts in this MFA state.")
@click.option("--no-app-passwords", is_flag=True, help="Only accounts without a live app password.")
@json_option
def list_(mfa: str | None, no_app_passwords: bool, as_json: bool) -> None:
    """List the accounts."""
    with core() as api:
        rows = api.get("accounts", mfa=mfa, no_app_passwords="true" if no_app_passwords else None)
    if as_json:
        echo_json([only(row, FIELDS) for row in rows])
        return
    table(
        ("Account", "Kind", "MFA", "App passwords", "Aliases"),
        [
            (
                row["account"] + ("" if row["enabled"] else " (disabled)"),
                row["kind"],
                row["mfa"],
                str(row["app_passwords"]),
                ", ".join(row["login_names"][1:]),
            )
            for row in rows
        ],
        empty="No account matches." if mfa or no_app_passwords else "No accounts yet: sidegate accounts add ADDRESS",
    )


@accounts.command()
@click.argument("account")
@json_option
def show(account: str, as_json: bool) -> None:
    """Show one account."""
    with core() as api:
        row = api.get(f"accounts/{quoted(account)}")
    if as_json:
        echo_json(only(row, DETAILS))
    else:
        _print(row)


@accounts.command()
@click.argument("account")
@json_option
def enable(account: str, as_json: bool) -> None:
    """Let an account log in again."""
    with core() as api:
        row = api.patch(f"accounts/{quoted(account)}", {"enabled": True})
    if as_json:
        echo_json(only(row, FIELDS))
    else:
        note(f"{row['account']} is enabled.")


@accounts.command()
@click.argument("account")
@json_option
def disable(account: str, as_json: bool) -> None:
    """Let nobody log in to an account, and end its sessions.

    Its app passwords work again when it is enabled. Those that the person
    made for shared mailboxes are revoked.
    """
    with core() as api:
        _closed(api.patch(f"accounts/{quoted(account)}", {"enabled": False}), "is disabled", as_json)


@accounts.command()
@click.argument("account")
@json_option
def remove(account: str, as_json: bool) -> None:
    """Remove an account, its app passwords and its sessions. There is no way back."""
    with core() as api:
        _closed(api.delete(f"accounts/{quoted(account)}"), "is removed", as_json)


@accounts.command()
@click.argument("account")
@click.option("--add", "added", multiple=True, metavar="NAME", help="Another login name, or a DN. May be given again.")
@click.option("--remove", "removed", multiple=True, metavar="NAME", help="One that it has. May be given again.")
@json_option
def aliases(account: str, added: tuple[str, ...], removed: tuple[str, ...], as_json: bool) -> None:
    """List or change which login names lead to an account, besides its address.

    All are changed, or none. Sessions and app passwords stay as they are.
    """
    path = f"accounts/{quoted(account)}"
    with core() as api:
        if added or removed:
            row = api.post(f"{path}/aliases", {"add": list(added), "remove": list(removed)})
        else:
            row = api.get(path)
    names = row["login_names"][1:]
    if as_json:
        echo_json(names)
    else:
        table(("Alias",), [(name,) for name in names], empty=f"{row['account']} has no aliases.")


@accounts.command()
@click.argument("account")
@click.option("--add", "added", multiple=True, metavar="PERSON", help="Make a person a member. May be given again.")
@click.option("--remove", "removed", multiple=True, metavar="PERSON", help="End a membership. May be given again.")
@json_option
def members(account: str, added: tuple[str, ...], removed: tuple[str, ...], as_json: bool) -> None:
    """List or change who may have app passwords for a shared mailbox.

    Ending a membership revokes what that person made for the mailbox.
    """
    path = f"accounts/{quoted(account)}"
    with core() as api:
        if added:
            api.post(f"{path}/members", {"members": list(added)})
        for person in removed:
            done = api.delete(f"{path}/members/{quoted(person)}")
            note(f"{person} is no member of {done['account']} any more; {consequences(done)}.")
            note_what_is_left(done)
        row = api.get(path)
    if as_json:
        echo_json(row["members"])
    else:
        table(("Member",), [(member,) for member in row["members"]], empty=f"{row['account']} has no members.")


def _closed(done: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        echo_json(done)
    else:
        note(f"{done['account']} {what}; {consequences(done)}.")
        note_what_is_left(done)


def _print(row: dict[str, Any]) -> None:
    pairs = [
        ("Account", row["account"]),
        ("Kind", row["kind"]),
        ("Name", row["name"]),
        ("Aliases", ", ".join(row["login_names"][1:])),
        ("Backend name", row["backend_name"]),
        ("Enabled", "yes" if row["enabled"] else "no"),
        ("MFA", row["mfa"]),
        ("Factors", ", ".join(row["factors"])),
        ("Administrator", "yes" if row["admin"] else None),
        ("Owner", row["owner"]),
        ("Members", ", ".join(row["members"])),
        ("App passwords", str(row["app_passwords"])),
        ("Created", when(row["created"])),
        ("Last sign-in", when(row["last_sign_in"]) if row["kind"] == AccountKind.PERSON else None),
    ]
    fields([(name, safe(value)) for name, value in pairs if value])
