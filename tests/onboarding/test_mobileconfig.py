"""Apple's profile: its keys, its identity, and its signature as OpenSSL sees it."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from proxy.config import Config
from proxy.domain.model import DEFAULT_SCOPES, Protocol
from proxy.onboarding.mobileconfig import CannotSign, profile, signed
from tests.onboarding.site import ALL, SECRET, handover, site, without


def made(config: Config, **more: object) -> dict[str, Any]:
    document = profile(config, handover(**more), "Mail of Example", "Sets up your mail.")
    assert document is not None
    loaded: dict[str, Any] = plistlib.loads(document)
    return loaded


def test_the_outside(tmp_path: Path) -> None:
    outer = made(site(tmp_path))
    payloads = outer.pop("PayloadContent")
    assert [payload["PayloadType"] for payload in payloads] == ["com.apple.mail.managed", "com.apple.ldap.account"]
    assert outer == {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": "org.example.login.3ae999cd-2c05-5ccd-bde3-c40b035252c9.configuration",
        "PayloadUUID": "30A81E6D-181F-5689-B1DD-2169951A3A5F",
        "PayloadDisplayName": "Mail of Example",
        "PayloadDescription": "Sets up your mail.",
        "PayloadOrganization": "Example & Co",
        "PayloadRemovalDisallowed": False,
    }


def test_mail(tmp_path: Path) -> None:
    (mail,) = made(site(tmp_path), scopes=DEFAULT_SCOPES)["PayloadContent"]
    assert mail.pop("PayloadUUID")
    assert mail.pop("PayloadIdentifier").endswith(".mail.managed")
    assert mail == {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadDisplayName": "alice@example.org",
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAccountDescription": "alice@example.org",
        "EmailAccountName": "Alice Álvarez",
        "EmailAddress": "alice@example.org",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": "mail.example.org",
        "IncomingMailServerPortNumber": 993,
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerUsername": "alice@example.org",
        "IncomingPassword": SECRET,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": "smtp.example.org",
        "OutgoingMailServerPortNumber": 465,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": "alice@example.org",
        "OutgoingPassword": SECRET,
    }


def test_directory(tmp_path: Path) -> None:
    (directory,) = made(site(tmp_path), scopes={Protocol.LDAP})["PayloadContent"]
    assert directory.pop("PayloadUUID")
    assert directory.pop("PayloadIdentifier").endswith(".ldap.account")
    assert directory == {
        "PayloadType": "com.apple.ldap.account",
        "PayloadVersion": 1,
        "PayloadDisplayName": "ldap.example.org",
        "LDAPAccountDescription": "ldap.example.org",
        "LDAPAccountHostName": "ldap.example.org",
        "LDAPAccountUseSSL": True,
        "LDAPAccountUserName": "mail=alice@example.org,ou=people,dc=example,dc=org",
        "LDAPAccountPassword": SECRET,
        "LDAPSearchSettings": [
            {
                "LDAPSearchSettingDescription": "ldap.example.org",
                "LDAPSearchSettingSearchBase": "ou=people,dc=example,dc=org",
                "LDAPSearchSettingScope": "LDAPSearchSettingScopeSubtree",
            }
        ],
    }


def test_a_directory_on_another_port_cannot_be_told(tmp_path: Path) -> None:
    config = site(tmp_path, ("ldap.example.org:636", "ldap.example.org:1636"))
    assert [one["PayloadType"] for one in made(config)["PayloadContent"]] == ["com.apple.mail.managed"]


@pytest.mark.parametrize(
    ("scopes", "missing"), [({Protocol.IMAP}, ""), ({Protocol.LDAP}, "ldap"), (DEFAULT_SCOPES, "smtp")]
)
def test_nothing_to_set_up(tmp_path: Path, scopes: set[Protocol], missing: str) -> None:
    config = site(tmp_path, *without(missing)) if missing else site(tmp_path)
    assert profile(config, handover(scopes=scopes), "", "") is None


def identities(outer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["PayloadIdentifier"], one["PayloadUUID"]) for one in (outer, *outer["PayloadContent"])]


def test_a_new_one_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    config = site(tmp_path)
    first, again, second = (identities(made(config, id=n)) for n in ("7", "7", "8"))
    other = identities(made(config, address="bob@example.org"))
    assert first == again
    assert [identifier for identifier, _ in first] == [identifier for identifier, _ in second]
    assert not {uuid for _, uuid in first} & {uuid for _, uuid in second}
    assert len({identifier for identifier, _ in first + other}) == 2 * len(first)


def test_a_sender_without_a_name_is_the_address(tmp_path: Path) -> None:
    (mail, _) = made(site(tmp_path), display_name=" \n", scopes=ALL)["PayloadContent"]
    assert mail["EmailAccountName"] == "alice@example.org"


# ---- signing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [trustme.KeyType.RSA, trustme.KeyType.ECDSA])
def test_openssl_verifies_the_signature_and_finds_the_profile(tmp_path: Path, kind: trustme.KeyType) -> None:
    authority = trustme.CA(key_type=kind)
    pair = authority.issue_cert("login.example.org", key_type=kind)
    document = profile(site(tmp_path), handover(), "Mail", "")
    assert document is not None
    whole = signed(document, pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes())
    assert verified(tmp_path, authority, whole) == document
    assert verified(tmp_path, authority, whole.replace(SECRET.encode(), SECRET.upper().encode())) is None


def verified(folder: Path, authority: trustme.CA, document: bytes) -> bytes | None:
    """What was signed, if OpenSSL takes the signature."""
    authority.cert_pem.write_to_path(folder / "root.pem")
    (folder / "signed").write_bytes(document)
    command = ["openssl", "smime", "-verify", "-inform", "DER", "-purpose", "any", "-CAfile", folder / "root.pem"]
    found = subprocess.run([*command, "-in", folder / "signed"], capture_output=True, check=False)
    return found.stdout if found.returncode == 0 else None


def test_the_whole_chain_is_in_it(tmp_path: Path) -> None:
    pair = trustme.CA().create_child_ca().issue_cert("login.example.org")
    chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
    (tmp_path / "signed").write_bytes(signed(b"profile", chain, pair.private_key_pem.bytes()))
    printed = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-in", tmp_path / "signed", "-print_certs"],
        capture_output=True,
        check=True,
    )
    assert printed.stdout.count(b"BEGIN CERTIFICATE") == len(pair.cert_chain_pems) == 2


def test_keys_that_cannot_sign() -> None:
    chain = trustme.CA().issue_cert("login.example.org").cert_chain_pems[0].bytes()
    key = ed25519.Ed25519PrivateKey.generate()
    for encryption in (NoEncryption(), BestAvailableEncryption(b"x")):
        with pytest.raises(CannotSign):
            signed(b"profile", chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with pytest.raises(CannotSign):
        signed(b"profile", b"", b"")
