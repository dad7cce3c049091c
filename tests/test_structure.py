"""The shape of the tree (DESIGN section 6), held where import-linter cannot look: homes of libraries, sizes, twins."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROXY = ROOT / "proxy"

HOMES: dict[str, tuple[str, ...]] = {
    "aiosmtpd": ("demo",),
    "alembic": ("store",),
    "apprise": ("factors/by_apprise.py",),
    "argon2": ("store/hashing.py",),
    "click": ("cli",),
    "cryptography": (
        "backends",
        "demo",
        "cli/doctor",
        "factors",
        "notices/encryption.py",
        "onboarding/mobileconfig.py",
    ),
    "fido2": ("factors/passkey.py",),
    "h11": ("portal/http.py",),
    "httpx": (
        "directory/oidc.py",
        "cli/client.py",
        "chat/http.py",
        "portal/core_client.py",
        "notices/web_push.py",
        "factors/webhook.py",
    ),
    "idna": ("domain/login_names.py",),
    "jinja2": ("portal",),
    "joserfc": ("backends", "directory/oidc.py", "notices/web_push.py"),
    "ldap3": ("directory/ldap.py",),
    "msgspec": ("link", "portal/api/bodies.py"),
    "phonenumbers": ("factors/phone_numbers.py",),
    "pyotp": ("factors/totp.py",),
    "rich": ("cli",),
    "segno": ("factors/qr.py",),
    "sqlalchemy": ("store",),
    "sqlalchemy.Connection": (
        "store",
        "admin",
        "core",
        "directory",
        "factors",
        "notices",
        "portal",
    ),  # the open transaction that they are handed
    "starlette": ("portal", "portal_process.py"),
    "twisted": ("fronts", "front_worker.py", "supervisor", "demo"),
    "twisted.mail": ("demo",),
    "uvicorn": ("http_server.py", "core", "portal_process.py", "portal/api", "portal/http.py"),
    "uvloop": ("fronts", "front_worker.py", "core", "portal_process.py"),
    "yaml": ("config",),
    "zope": ("demo",),
}
"""Each third-party library and where it may be imported: its home, and composition roots that have to start it."""

LONG: dict[str, str] = {
    "fronts/descriptor.py": "the states of one descriptor hand over to each other; apart they cannot be followed",
}
"""Files over 400 lines, each with the reason why it is not split."""
LONGEST = 400

TESTED_THROUGH: dict[str, str] = {
    "__main__.py": "cli",
    "admin": "admin",  # the use cases
    "backends": "backends/test_strategies.py",
    "chat": "chat",
    "child.py": "supervisor",
    "config/credentials.py": "config/test_backends.py",
    "config/errors.py": "config/test_loading.py",
    "config/reader.py": "config/test_loading.py",
    "config/settings.py": "config/test_loading.py",
    "cli": "cli",  # the commands, run as a person would
    "core": "core",  # questions and their answers
    "demo": "demo",
    "domain/messages.py": "portal/test_texts.py",
    "directory/__init__.py": "directory",  # the contract
    "directory/pool.py": "directory",  # through what checks in it
    "factors/__init__.py": "factors",  # the contract
    "factors/by_apprise.py": "factors/test_gateways.py",
    "factors/call.py": "factors/test_phone_codes.py",
    "factors/sms.py": "factors/test_phone_codes.py",
    "factors/webhook.py": "factors/test_gateways.py",
    "config/factor_settings.py": "config/test_factors.py",
    "config/phone_codes.py": "config/test_factors.py",
    "domain/phone_codes.py": "factors/test_phone_codes.py",
    "factors/gateways.py": "factors/test_gateways.py",
    "factors/phone_numbers.py": "factors/test_phone_codes.py",
    "store/sent_codes.py": "factors/test_phone_codes.py",
    "domain/webhooks.py": "chat/test_kicks.py",
    "portal/gateway_failures.py": "portal/test_phone_codes.py",
    "factors/phones.py": "factors/test_push.py",  # the phone's side of it
    "domain/phones.py": "factors/test_push.py",
    "http_server.py": "portal/test_http.py",
    "fronts": "fronts",  # connections, over sockets
    "portal/api": "portal/test_api.py",
    "portal/arrival.py": "portal/test_sign_in.py",
    "portal/desk.py": "portal/test_web.py",
    "portal/senders.py": "portal/test_web.py",
    "portal/templating.py": "portal/test_texts.py",
    "portal/push_api.py": "portal/test_push.py",
    "portal/push_waking.py": "portal/test_push.py",
    "portal/waiting.py": "portal/test_sign_in.py",
    "portal/app_password_form.py": "portal/test_app_passwords.py",
    "portal/app_password_rows.py": "portal/test_app_passwords.py",
    "portal/shown_once.py": "portal/test_app_passwords.py",
    "store/errors.py": "store",
    "store/migrations": "store/test_migrations.py",
    "supervisor": "supervisor",  # processes
    "wire/events.py": "wire",
    "wire/imap": "wire/imap",  # transcripts
}
"""Where modules without a test file of their own are tested: whole, through what others call."""

MAY_PRINT = ("cli", "demo")


@cache
def modules() -> dict[str, ast.Module]:
    """Path below proxy -> syntax tree."""
    return {
        str(path.relative_to(PROXY)): ast.parse(path.read_text("utf-8"), str(path))
        for path in sorted(PROXY.rglob("*.py"))
    }


def within(path: str, homes: tuple[str, ...]) -> bool:
    return any(path == home or path.startswith(f"{home}/") for home in homes)


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def home_of(name: str) -> tuple[str, ...] | None:
    """The homes of the longest listed name that an imported one lies in; None for our own and the standard library."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        homes = HOMES.get(".".join(parts[:length]))
        if homes is not None:
            return homes
    return None if parts[0] in {*sys.stdlib_module_names, "proxy"} else ()


def test_every_library_has_one_home() -> None:
    strays = [
        f"{path}: {name}"
        for path, tree in modules().items()
        for name in imported(tree)
        if (homes := home_of(name)) is not None and not within(path, homes)
    ]
    assert strays == []


def test_every_home_is_lived_in() -> None:
    used = {
        library
        for tree in modules().values()
        for name in imported(tree)
        for library in HOMES
        if in_library(name, library)
    }
    assert set(HOMES) - used == set()


def in_library(name: str, library: str) -> bool:
    return name == library or name.startswith(f"{library}.")


def test_only_the_gatekeeper_accepts() -> None:
    builders = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Accepted"
    }
    assert builders == {"domain/gatekeeper.py"}


def test_what_is_pure_takes_clock_and_randomness_as_arguments() -> None:
    impure = {"asyncio", "twisted", "socket", "ssl", "logging", "time", "random", "secrets", "os", "threading"}
    strays = [
        f"{path}: {name}"
        for path, tree in modules().items()
        if within(path, ("domain", "wire"))
        for name in imported(tree)
        if name.split(".")[0] in impure
    ]
    assert strays == []


def test_standard_output_belongs_to_the_commands() -> None:
    strays = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        if not within(path, MAY_PRINT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if "file=sys.stderr" not in ast.unparse(node)
    ]
    assert strays == []


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path: (PROXY / path).read_text("utf-8").count("\n") for path in modules()}
    assert {path for path, length in lengths.items() if length > LONGEST} <= set(LONG)


def test_every_module_is_tested_somewhere() -> None:
    """proxy/a/b.py by tests/a/test_b.py, or else as part of what TESTED_THROUGH says."""
    untested = set()
    for path, tree in modules().items():
        module = Path(path)
        if not any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree)):
            continue  # names, nouns and re-exports
        twin = ROOT / "tests" / module.parent / f"test_{module.name}"
        if not twin.exists() and not within(path, tuple(TESTED_THROUGH)):
            untested.add(path)
    assert untested == set()
    for tests in TESTED_THROUGH.values():
        place = ROOT / "tests" / tests
        assert place.is_file() or any(place.glob("test_*.py")), f"{place} has no tests"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.fail("not a git checkout: cannot tell what is tracked")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


# Character classes, so that these lines do not match themselves.
MACHINE = re.compile(
    r"(?<![\w.])/([w]ork|[f]arm|[r]oot|[h]ome)/[\w.]|/[t]mp/w/"
    r"|[p]ypi\.org|[p]ythonhosted\.org|[n]pmjs\.org|[d]eb\.debian\.org|[p]roxy\.golang\.org"
)


def test_no_file_names_a_machine_or_a_package_index() -> None:
    strays = []
    for path in tracked():
        if not path.is_file() or path.is_symlink():
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if MACHINE.search(line):
                strays.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert strays == []


def test_the_locks_hold_hashes_and_no_address() -> None:
    for name in ("requirements.lock", "requirements-build.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "://" not in text
        assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)
        pins = re.findall(r"^[a-z0-9].*==.*$", text, re.MULTILINE)
        assert len(pins) > 3
        assert all(pin.endswith("\\") for pin in pins), "a pin without a hash"


def test_every_direct_dependency_is_used() -> None:
    """pyproject's list and HOMES are the same libraries, by their distribution's name."""
    import tomllib

    named = {"argon2": "argon2-cffi", "yaml": "pyyaml", "zope": "twisted"}
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    wanted = {re.split(r"[<>=~! \[]", line)[0] for line in lines}
    assert wanted == {named.get(library, library) for library in HOMES if "." not in library}
