"""`sidegate config` and `sidegate keys`."""

from __future__ import annotations

import click

from proxy.cli.base import Failure, SidegateGroup, load_config
from proxy.cli.show import echo_json, fields, json_option


@click.group(cls=SidegateGroup)
def config() -> None:
    """The configuration: what is in force, and an example."""


@config.command()
@click.option("-n", "only_changed", is_flag=True, help="Only what differs from the defaults.")
def show(only_changed: bool) -> None:
    """Print the configuration as it is in force. Secrets are not shown."""
    from proxy.config import show as render

    click.echo(render(load_config(files=False), only_changed), nl=False)


@config.command()
def example() -> None:
    """Print a documented configuration to start from."""
    from proxy.config import example as text

    click.echo(text(), nl=False)


@click.group(cls=SidegateGroup)
def keys() -> None:
    """Keys that backends verify sidegate by."""


@keys.command("show")
@click.option("--pem", is_flag=True, help="Only the public key, for the backend's own configuration.")
@json_option
def show_keys(pem: bool, as_json: bool) -> None:
    """Show the public half of the signing key (dovecot_token). Never a secret."""
    from proxy.backends.keys import load
    from proxy.keyfiles import KeysError

    settings = load_config(files=False)
    try:
        loaded = load(settings.state_dir)
    except KeysError as error:
        raise Failure(str(error)) from None
    if as_json:
        echo_json({"id": loaded.signing.id, "algorithm": "ES256", "public_pem": loaded.signing.public_pem})
    elif pem:
        click.echo(loaded.signing.public_pem, nl=False)
    else:
        peppers = ", ".join(map(str, sorted(loaded.peppers)))
        fields([("Signing key", loaded.signing.id), ("Algorithm", "ES256"), ("Peppers", f"versions {peppers}")])
        click.echo(f"\n{loaded.signing.public_pem}", nl=False)
