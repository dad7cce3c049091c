"""`sidegate mfa`."""

from __future__ import annotations

from collections.abc import Callable

import click

from proxy.cli.ask import confirm, dry_run_option, read_names, yes_option
from proxy.cli.base import SidegateCommand, SidegateGroup, core
from proxy.cli.show import counted, echo_json, json_option, note
from proxy.domain.model import MfaState


@click.group(cls=SidegateGroup)
def mfa() -> None:
    """Who must pass a second factor at the portal.

    App passwords are needed on the fronts in every state.
    """


def _command(name: str, state: MfaState, help_text: str) -> None:
    def run(
        accounts: tuple[str, ...], every: bool, from_file: str | None, dry_run: bool, yes: bool, as_json: bool
    ) -> None:
        _set_state(state, accounts, every=every, from_file=from_file, dry_run=dry_run, yes=yes, as_json=as_json)

    decorators: list[Callable[..., Callable[..., None]]] = [
        click.argument("accounts", nargs=-1, metavar="[ACCOUNT]..."),
        click.option("--all", "every", is_flag=True, help="Every person."),
        click.option("--from-file", metavar="FILE|-", help="Accounts from a file or stdin (-), one a line."),
        dry_run_option,
        yes_option,
        json_option,
    ]
    callback: Callable[..., None] = run
    for decorate in reversed(decorators):
        callback = decorate(callback)
    mfa.add_command(click.command(name, cls=SidegateCommand, help=help_text)(callback))


_command("enable", MfaState.ENABLED, "A second factor is set up at the next sign-in.")
_command("enforce", MfaState.ENFORCED, "A second factor is asked for at every sign-in.")
_command("disable", MfaState.DISABLED, "No second factor at sign-in; making an app password still needs one.")


def _set_state(
    state: MfaState,
    accounts: tuple[str, ...],
    *,
    every: bool,
    from_file: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if bool(accounts) + every + (from_file is not None) != 1:
        raise click.UsageError("Name accounts, or give --all or --from-file.")
    names = list(accounts) if from_file is None else read_names(from_file)
    if not every and not names:
        raise click.UsageError(f"{from_file} names no accounts.")
    body = {"state": state.value, "accounts": names, "all": every}
    with core() as api:
        if not accounts or dry_run:
            done = api.post("mfa", {**body, "dry_run": True}, patient=True)
        if accounts and not dry_run:
            done = api.post("mfa", body)
        elif not dry_run and done["changed"]:
            confirm(f"Set {counted(len(done['changed']), 'account')} to {state}?", yes=yes)
            done = api.post("mfa", body, patient=True)
    if as_json:
        echo_json(done)
        return
    verb = "would be" if dry_run else "are now" if len(done["changed"]) != 1 else "is now"
    note(f"{counted(len(done['changed']), 'account')} {verb} {state}, {done['unchanged']} were so already.")
