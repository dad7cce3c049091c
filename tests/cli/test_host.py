"""Commands about this host, and the command line as such: help, versions, completion, exit statuses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
import trustme
from click.testing import CliRunner

from proxy.cli.base import SidegateCommand
from proxy.cli.main import COMMANDS, sidegate
from tests.cli.conftest import Shell


def every_command() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}

    def walk(name: str, command: click.Command) -> None:
        found[name] = command
        if isinstance(command, click.Group):
            for child in command.list_commands(click.Context(command)):
                one = command.get_command(click.Context(command), child)
                assert one is not None
                walk(f"{name} {child}".strip(), one)

    walk("", sidegate)
    return found


def test_the_tree_is_the_contract() -> None:
    leaves = sorted(name for name, command in every_command().items() if not isinstance(command, click.Group))
    assert leaves == [
        "accounts add",
        "accounts aliases",
        "accounts disable",
        "accounts enable",
        "accounts enrolment-code",
        "accounts import",
        "accounts list",
        "accounts members",
        "accounts remove",
        "accounts set-password",
        "accounts set-password-link",
        "accounts show",
        "audit",
        "auth test",
        "check",
        "completion",
        "config example",
        "config show",
        "demo",
        "dns records",
        "doctor",
        "init",
        "keys show",
        "mfa bypass",
        "mfa disable",
        "mfa enable",
        "mfa enforce",
        "mfa reset",
        "mfa unblock",
        "migrate",
        "passwords change",
        "passwords create",
        "passwords list",
        "passwords rename",
        "passwords revoke",
        "serve",
        "sessions cut",
        "sessions list",
        "why",
    ]


@pytest.mark.parametrize("name", every_command())
def test_every_command_explains_itself(name: str) -> None:
    command = every_command()[name]
    assert command.help
    result = CliRunner().invoke(sidegate, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    if isinstance(command, SidegateCommand):
        assert "--config" in result.stdout


def test_lists_take_json() -> None:
    for name, command in every_command().items():
        if name.endswith(" list") or name in ("why", "audit", "doctor", "dns records"):
            assert "as_json" in {param.name for param in command.params}, name


def test_version_is_quick_to_say() -> None:
    program = "import sys; from proxy.__main__ import main; sys.argv = ['sidegate', '--version']\n"
    program += "try: main()\nexcept SystemExit: pass\n"
    program += "print([m for m in ('httpx', 'rich', 'sqlalchemy', 'twisted', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("sidegate ")
    assert done.stdout.splitlines()[1] == "[]"


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion(shell_name: str) -> None:
    result = CliRunner().invoke(sidegate, ["completion", shell_name])
    assert result.exit_code == 0
    assert "_SIDEGATE_COMPLETE" in result.stdout
    words = {"bash": ("sidegate pass", "1"), "zsh": ("sidegate pass", "1"), "fish": ("sidegate pass", "pass")}[
        shell_name
    ]
    done = subprocess.run(
        [sys.executable, "-m", "proxy"],
        env={
            **os.environ,
            "_SIDEGATE_COMPLETE": f"{shell_name}_complete",
            "COMP_WORDS": words[0],
            "COMP_CWORD": words[1],
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "passwords" in done.stdout


# ---- exit statuses ---------------------------------------------------------------------------


def test_no_configuration_is_78() -> None:
    result = CliRunner().invoke(sidegate, ["accounts", "list", "-c", "/nowhere/sidegate.yaml"])
    assert result.exit_code == 78
    assert result.stderr.startswith("/nowhere/sidegate.yaml:1:1: cannot be read")


def test_every_mistake_in_the_configuration_is_told(shell: Shell) -> None:
    shell.config.write_text(shell.config.read_text() + "colour: red\nworkers: many\n")
    result = shell("sessions", "list")
    assert result.exit_code == 78
    assert len(result.stderr.splitlines()) == 2
    assert all(line.startswith(f"{shell.config}:") for line in result.stderr.splitlines())


def test_no_core_is_75_and_says_how_to_start_it(shell: Shell) -> None:
    result = shell("accounts", "list")
    assert result.exit_code == 75
    assert result.stderr == (
        f"sidegate: the core is not running: nothing answers at {shell.root}/admin.sock. "
        "Start it with `sidegate serve`\n"
    )


def test_the_config_option_stands_before_or_behind(shell: Shell) -> None:
    for arguments in (["-c", str(shell.config), "config", "show"], ["config", "show", "-c", str(shell.config)]):
        result = CliRunner().invoke(sidegate, arguments, env={"SIDEGATE_CONFIG": "/nowhere"})
        assert (result.exit_code, "master" in result.stdout) == (0, True)


# ---- init, keys, config, check, dns ------------------------------------------------------------


def test_init_makes_keys_and_store_once(shell: Shell) -> None:
    result = shell("init")
    assert result.exit_code == 0, result.stderr
    pepper = shell.root / "keys" / "pepper-1"
    made = pepper.read_text()
    portal_key = shell.root / "keys" / "portal-1"
    for private in (pepper, portal_key, shell.root / "keys" / "signing-1.pem", shell.root / "sidegate.db"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    again = shell("init")
    assert (again.exit_code, "keys are there already" in again.stderr) == (0, True)
    assert pepper.read_text() == made
    assert shell("migrate").exit_code == 0
    assert made.strip() not in shell("keys", "show").output


def test_root_acts_as_the_owner_of_the_state_directory(shell: Shell) -> None:
    """In a process of its own, since it cannot go back. Another user than root stays who they are."""
    if os.geteuid() == 0:
        os.chown(shell.root, 65534, 65534)
    program = "import sys, pathlib; from proxy.cli.host import become_owner; folder = pathlib.Path(sys.argv[1])\n"
    program += "become_owner(folder); (folder / 'made').write_text('')"
    subprocess.run([sys.executable, "-c", program, str(shell.root)], check=True)
    made, folder = (shell.root / "made").stat(), shell.root.stat()
    assert (made.st_uid, made.st_gid) == (folder.st_uid, folder.st_gid)


def test_the_owner_need_not_be_able_to_read_what_it_runs(shell: Shell) -> None:
    """Root's interpreter may be in a folder of root's alone: everything is read before it becomes the owner."""
    program = """if True:
        import sys
        from proxy.cli import host
        from proxy.cli.main import sidegate

        def close_python(_):
            sys.addaudithook(refuse)

        def refuse(event, arguments):
            if event == "open" and str(arguments[0]).endswith((".py", ".pyc", ".so")):
                raise PermissionError(f"{arguments[0]} is read too late")

        host.become_owner = close_python
        sidegate(["--config", sys.argv[1], sys.argv[2]])
    """
    for command in ("init", "migrate"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(shell.config), command], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "the schema is this version's" in done.stderr) == (0, True), done.stderr


def test_a_state_directory_that_cannot_be_made_is_one_sentence(shell: Shell) -> None:
    shell.config.write_text(shell.config.read_text().replace(f"state_dir: {shell.root}", "state_dir: /proc/sidegate"))
    result = shell("init")
    assert result.exit_code == 1
    assert result.stderr == "sidegate: /proc/sidegate cannot be made: No such file or directory\n"


def test_keys_show_prints_the_public_half(shell: Shell) -> None:
    missing = shell("keys", "show")
    assert (missing.exit_code, "sidegate init" in missing.stderr) == (1, True)
    shell("init")
    pem = shell("keys", "show", "--pem").stdout
    assert pem.startswith("-----BEGIN PUBLIC KEY-----")
    assert json.loads(shell("keys", "show", "--json").stdout) == {
        "id": "signing-1",
        "algorithm": "ES256",
        "public_pem": pem,
    }
    assert "PRIVATE" not in shell("keys", "show").output


def test_config_show_and_example(shell: Shell) -> None:
    whole, changed = shell("config", "show").stdout, shell("config", "show", "-n").stdout
    assert "app_password_limit: 40" in whole
    assert "app_password_limit" not in changed
    assert "default_domain: example.org" in changed
    assert "## " in CliRunner().invoke(sidegate, ["config", "example"]).stdout


def give_files(root: Path) -> None:
    pair = trustme.CA().issue_cert("mail.example.org")
    pair.cert_chain_pems[0].write_to_path(root / "cert.pem")
    for name, content in (("key.pem", pair.private_key_pem.bytes()), ("master", b"canary-master\n")):
        (root / name).write_bytes(content)
        (root / name).chmod(0o600)


def test_check_validates_and_says_what_a_front_could_reach(shell: Shell) -> None:
    result = shell("check")
    assert (result.exit_code, "cert.pem" in result.stderr) == (78, True)
    give_files(shell.root)
    result = shell("check")
    assert (result.exit_code, result.stdout) == (0, f"{shell.config}: the configuration is valid\n")
    assert (
        "warning: backend mail: with master_user a compromised front worker could open every mailbox" in result.stderr
    )
    assert "warning: backend submission: with xclient a compromised front worker" in result.stderr
    assert result.stderr.count("warning: portal.mail is missing") == 1
    assert "canary" not in result.output


def test_dns_records_say_what_is_and_what_is_not_offered(shell: Shell) -> None:
    result = shell("dns", "records", "Example.org")
    name, ttl, *rest = result.stdout.splitlines()[0].split()
    assert (name, ttl, rest) == (
        "_imaps._tcp.example.org.",
        "3600",
        ["IN", "SRV", "0", "1", "993", "mail.example.org."],
    )
    assert [line.split()[3:] for line in result.stdout.splitlines()[1:]] == [
        ["SRV", "0", "0", "0", "."],
        ["SRV", "0", "0", "0", "."],
        ["SRV", "10", "1", "587", "mail.example.org."],
        ["SRV", "0", "0", "443", "login.example.org."],
        ["CNAME", "login.example.org."],
        ["CNAME", "login.example.org."],
        ["TXT", '"v=UAAC1;', "a=sha256;", 'd=SXJmFAzLkZF304fcX49peyZzzc9fd96fVvQBU5h2Wlg="'],
    ]
    assert result.stderr.splitlines() == [
        f"sidegate: note: the portal must answer https://{host}.example.org with a certificate for that name"
        for host in ("autoconfig", "ua-auto-config")
    ]
    assert "not among `domains:`" in shell("dns", "records", "example.net").stderr
    assert json.loads(shell("dns", "records", "example.org", "--json").stdout)[1] == {
        "name": "_imap._tcp.example.org.",
        "ttl": 3600,
        "type": "SRV",
        "value": "0 0 0 .",
    }
    shell.config.write_text(shell.config.read_text().replace('"mail.example.org:993"', '"mail:993"'))
    assert (
        "mail is no full host name; write hostname: mail.example.org" in shell("dns", "records", "example.org").stderr
    )
    wrong = shell("dns", "records", "two words")
    assert (wrong.exit_code, wrong.stderr) == (1, "sidegate: 'two words' is not a domain\n")


def test_every_listed_command_exists() -> None:
    assert sorted(COMMANDS) == sidegate.list_commands(click.Context(sidegate))
