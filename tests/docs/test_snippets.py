"""What README and docs/backends tell people to write is taken by the parser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.backends import keys
from proxy.config import load
from tests.support.sidegate import Certificates

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "backends").glob("*.md"))]
FENCE = re.compile(r"^( *)```yaml\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def snippets() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for indent, body in FENCE.findall(page.read_text()):
            found.append((page.name, "\n".join(line.removeprefix(indent) for line in body.splitlines())))
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("docs")
    certificates = Certificates(root / "tls")
    return {
        "root": root,
        "tls": {"certificate": str(certificates.certificate), "key": str(certificates.key)},
        "portal": {"url": "https://login.example.org"},
        "default_domain": "example.org",
    }


@pytest.mark.parametrize(("page", "text"), snippets())
def test_a_snippet_is_a_configuration(page: str, text: str, base: dict[str, Any]) -> None:
    root: Path = base["root"]
    if text.startswith(" "):  # some lines of a backend, shown without what surrounds them
        protocol = "smtp" if page == "postfix.md" else "imap"
        text = (
            f"backends:\n  it:\n    protocol: {protocol}\n    address: '127.0.0.1:1'\n"
            "    tls: none\n    username: '{local}'\n" + "\n".join("    " + line.strip() for line in text.splitlines())
        )
    settings = yaml.safe_load(text)
    settings["tls"] = base["tls"]
    for key in ("portal", "default_domain"):
        settings.setdefault(key, base[key])
    for name, backend in settings["backends"].items():
        front = {"protocol": backend["protocol"], "listen": "[::1]:1993", "tls": "implicit", "backend": name}
        if "fronts" not in settings:
            settings["fronts"] = [front]
        kicks = [service.get("on_revoke", {}) for service in backend.get("service_accounts", [])]
        for section in (backend["login"], *kicks):
            password = section.get("password_file")
            if password:
                path = root / Path(password).name
                path.write_text("secret")
                path.chmod(0o600)
                section["password_file"] = str(path)
    file = root / "sidegate.yaml"
    file.write_text(yaml.safe_dump(settings))
    file.chmod(0o600)
    config = load(file)
    assert set(config.backends) == set(settings["backends"])


def test_there_are_snippets() -> None:
    backends = {"active-directory.md", "dovecot.md", "openldap.md", "postfix.md", "static.md"}
    assert {page for page, _ in snippets()} >= {"README.md", "any-program.md", *backends}


def test_the_key_is_called_as_it_will_be(tmp_path: Path) -> None:
    keys.create(tmp_path)
    name = keys.load(tmp_path).signing.id
    page = (ROOT / "docs" / "backends" / "dovecot.md").read_text()
    assert f"/etc/dovecot/sidegate/sidegate/ES256/{name}\n" in page
    assert f"prints as `Signing key`: `{name}`" in page
