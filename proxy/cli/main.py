"""The command tree."""

from __future__ import annotations

from importlib import import_module

import click

import proxy
from proxy.cli.base import SidegateGroup, config_option

COMMANDS = {
    "accounts": "accounts:accounts",
    "audit": "insight:audit",
    "auth": "insight:auth",
    "check": "host:check",
    "completion": "completion:completion",
    "config": "settings:config",
    "demo": "host:demo",
    "dns": "dns:dns",
    "doctor": "host:doctor",
    "init": "host:init",
    "keys": "settings:keys",
    "mfa": "mfa:mfa",
    "migrate": "host:migrate",
    "passwords": "passwords:passwords",
    "serve": "host:serve",
    "sessions": "sessions:sessions",
    "why": "insight:why",
}
"""Name -> module of this package and the command in it."""


class _Tree(SidegateGroup):
    """Imports a command's module when it is called: `sidegate --version` and completion stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(f"proxy.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Tree, params=[config_option()])
@click.version_option(proxy.__version__, message="sidegate %(version)s")
def sidegate() -> None:
    """App passwords in front of mail servers whose clients cannot do multi-factor sign-in.

    Try it: sidegate demo
    """
