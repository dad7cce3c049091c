"""Fronts, portal and certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from proxy.config import ConfigErrors, show
from proxy.config.settings import Address, Enrolment, Portal, TlsPair
from tests.config.mistakes import VALID, changed, loaded, mistakes

IMAP = '  - {protocol: imap, listen: "[::]:993", tls: implicit, backend: mail}\n'
TLS = "tls: {certificate: /etc/x/chain.pem, key: /etc/x/key.pem}\n"
PORTAL = '{url: "https://login.example.org"}'

TABLE: list[tuple[str, str, list[str]]] = [
    (IMAP, "  - {}\n", [
        "5:5: fronts[0].backend: is missing; name one of backends",
        '5:5: fronts[0].listen: is missing; write "[::]:993"',
        "5:5: fronts[0].protocol: is missing; write imap, smtp or ldap",
        "5:5: fronts[0].tls: is missing; write implicit or starttls",
    ]),
    (IMAP, IMAP.replace("imap", "ldap"), [
        "5:66: fronts[0].backend: mail speaks imap, this front ldap; name another"
    ]),
    (IMAP, IMAP.replace("imap", "pop3"), ["5:16: fronts[0].protocol: is none of imap, smtp, ldap"]),
    (IMAP, IMAP.replace("implicit", "none"), ["5:47: fronts[0].tls: is none of implicit, starttls"]),
    (IMAP, IMAP.replace("mail}", "submission}"), [
        "5:66: fronts[0].backend: submission speaks smtp, this front imap; name another"
    ]),
    (IMAP, IMAP.replace("}", ", proxy_protocol_from: [balancer]}"), [
        "5:94: fronts[0].proxy_protocol_from[0]: is not a network; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
    ]),
    (IMAP, IMAP.replace("}", ', public: "192.0.2.1:993"}'), [
        '5:80: fronts[0].public: has no host name before the port; write "imap.example.org:993", or none'
    ]),
    (IMAP, IMAP.replace("}", ", public: imap.example.org}"), [
        '5:80: fronts[0].public: must be host:port; write "imap.example.org:993", or none'
    ]),
    (IMAP, IMAP + IMAP, ["6:30: fronts[1].listen: is the address of fronts[0].listen too; give each listener its own"]),
    (IMAP, IMAP + IMAP.replace("[::]", "192.0.2.1"), [
        "6:30: fronts[1].listen: is the address of fronts[0].listen too; give each listener its own"
    ]),
    (PORTAL, '{url: "https://login.example.org", listen: "0.0.0.0:993", tls: {certificate: /c, key: /k}}', [
        "3:52: portal.listen: is the address of fronts[0].listen too; give each listener its own"
    ]),
    (PORTAL, "{}", ['3:9: portal.url: is missing; write "https://login.example.org"']),
    (PORTAL, '"https://login.example.org"', [
        "3:9: portal: must be a mapping; write {url: …} (keys: url, listen, tls, name, forwarded_from,"
        " trusted_networks, enrolment, remember_days, fraud_stop_days, password_url, mail, profile_signer, user,"
        " sign_in)"
    ]),
    (PORTAL, '{url: "https://login.example.org", name: "a:b", remember_days: 366, enrolment: free}', [
        "3:50: portal.name: must be at most 64 printable characters without a colon",
        "3:72: portal.remember_days: is out of range; write a number from 0 to 365",
        "3:88: portal.enrolment: is none of code, open",
    ]),
    (PORTAL, '{url: "https://login.example.org", trusted_networks: [office], forwarded_from: 127.0.0.1}', [
        "3:63: portal.trusted_networks[0]: is not a network; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32",
        "3:88: portal.forwarded_from: must be a list; write [a, b]",
    ]),
    (TLS, "tls: []\n", ["2:6: tls: is an empty list; name at least one certificate"]),
    (TLS, "tls: [{certificate: chain.pem}]\n", [
        "2:7: tls[0].key: is missing; write the path of the private key in PEM form; "
        "if it is a credential of the fronts' unit, /run/credentials/sidegate-front.service/tls.key",
        "2:21: tls[0].certificate: must be an absolute path; begin it with /",
    ]),
    (TLS, "tls: /etc/x\n", ["2:6: tls: must be a mapping; write {certificate: …} (keys: certificate, key, names)"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), TABLE)
def test_mistakes(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    assert mistakes(tmp_path, changed(old, new)) == expected


@pytest.mark.parametrize(
    ("listen", "public", "told"),
    [
        ("[::]:993", "", Address("mail.example.org", 993)),
        ("[::]:993", ', public: "IMAP.example.org:1993"', Address("imap.example.org", 1993)),
        ("[::]:993", ", public: none", None),
        ("127.0.0.1:993", "", None),
        ("127.0.0.1:993", ', public: "imap.example.org:993"', Address("imap.example.org", 993)),
        ("[::]:0", "", None),
    ],
)
def test_where_programs_are_told_to_find_a_front(
    tmp_path: Path, listen: str, public: str, told: Address | None
) -> None:
    front = IMAP.replace("[::]:993", listen).replace("}", f"{public}}}")
    assert loaded(tmp_path, changed(IMAP, front) + "hostname: mail.example.org\n").fronts[0].public == told


def test_no_fronts(tmp_path: Path) -> None:
    head, _, tail = VALID.partition("fronts:\n")
    backends = tail[tail.index("backends:") :]
    assert mistakes(tmp_path, head + backends) == [
        '1:1: fronts: is missing; write a list of {protocol: imap, listen: "[::]:993", tls: implicit, backend: …}'
    ]
    assert mistakes(tmp_path, f"{head}fronts: []\n{backends}") == [
        "4:9: fronts: must be a list with at least one front"
    ]


def test_fronts_are_named_by_protocol_and_port(tmp_path: Path) -> None:
    free = IMAP.replace("[::]:993", "127.0.0.1:0")
    text = changed(IMAP, free + free + IMAP.replace("[::]", "127.0.0.1") + IMAP.replace("[::]", "127.0.0.2"))
    assert [front.name for front in loaded(tmp_path, text).fronts] == [
        "imap:0",
        "imap:0#2",
        "imap:993",
        "imap:993#2",
        "smtp:465",
    ]


def test_a_front_behind_balancers(tmp_path: Path) -> None:
    text = changed(IMAP, IMAP.replace("}", ", proxy_protocol_from: [10.0.0.0/24, 2001:db8::7]}"))
    assert loaded(tmp_path, text).fronts[0].proxy_protocol_from == ("10.0.0.0/24", "2001:db8::7/128")


def test_a_portal_in_the_clear_beyond_loopback_is_warned_about(tmp_path: Path) -> None:
    config = loaded(tmp_path, changed(PORTAL, '{url: "https://login.example.org", listen: "192.0.2.1:8080"}'))
    assert config.portal.listen == Address("192.0.2.1", 8080)
    assert config.warnings[0] == (
        f"{tmp_path}/sidegate.yaml:3:52: portal.listen: pages go out in the clear here; give the portal tls of its own"
    )


def test_a_portal_with_everything(tmp_path: Path) -> None:
    more = (
        'name: Example, forwarded_from: [127.0.0.1, "::1"], trusted_networks: [10.0.0.0/8], enrolment: open, '
        "remember_days: 0, fraud_stop_days: 90"
    )
    portal = loaded(tmp_path, changed(PORTAL, f'{{url: "https://login.example.org", {more}}}')).portal
    assert portal == Portal(
        "https://login.example.org",
        Address("127.0.0.1", 8080),
        None,
        name="Example",
        forwarded_from=("127.0.0.1/32", "::1/128"),
        trusted_networks=("10.0.0.0/8",),
        enrolment=Enrolment.OPEN,
        remember_days=0,
        fraud_stop_days=90,
    )


def test_what_signs_profiles(tmp_path: Path, pems: Path) -> None:
    """Its own certificate, for a portal whose TLS ends at a web server in front; else the portal's."""
    url = 'url: "https://login.example.org"'
    a, b = (f"{{certificate: {pems}/{name}.pem, key: {pems}/{name}.key}}" for name in "ab")
    assert loaded(tmp_path, changed(PORTAL, f"{{{url}}}")).portal.profile_signer is None
    own = loaded(tmp_path, changed(PORTAL, f"{{{url}, tls: {a}}}"))
    assert own.portal.profile_signer == own.portal.tls
    assert "profile_signer" not in show(own, only_changed=False)
    other = loaded(tmp_path, changed(PORTAL, f"{{{url}, profile_signer: {b}}}"))
    assert (other.portal.tls, other.portal.profile_signer) == (None, TlsPair(pems / "b.pem", pems / "b.key"))
    assert yaml.safe_load(show(other, only_changed=True))["portal"]["profile_signer"]["key"] == f"{pems}/b.key"


# ---- certificates -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.pem with a.key, b.pem with b.key, and locked.key: a.key, encrypted."""
    folder = tmp_path_factory.mktemp("pems")
    authority = trustme.CA()
    for name in ("a", "b"):
        issued = authority.issue_cert(f"{name}.example.org")
        (folder / f"{name}.pem").write_bytes(issued.cert_chain_pems[0].bytes())
        (folder / f"{name}.key").write_bytes(issued.private_key_pem.bytes())
        (folder / f"{name}.key").chmod(0o600)
    key = load_pem_private_key((folder / "a.key").read_bytes(), None)
    encryption = BestAvailableEncryption(b"x")
    (folder / "locked.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    (folder / "locked.key").chmod(0o600)
    return folder


def of_pair(folder: Path, certificate: Path | str, key: Path | str) -> list[str]:
    return mistakes(folder, changed(TLS, f"tls:\n  certificate: {certificate}\n  key: {key}\n"), certificates=True)


def test_pairs_that_belong_together(tmp_path: Path, pems: Path) -> None:
    tls = "".join(f"  - {{certificate: {pems}/{n}.pem, key: {pems}/{n}.key, names: [{n}.example.org]}}\n" for n in "ab")
    config = loaded(tmp_path, changed(TLS, f"tls:\n{tls}"), certificates=True)
    assert config.tls == tuple(TlsPair(pems / f"{n}.pem", pems / f"{n}.key", (f"{n}.example.org",)) for n in "ab")


def test_pairs_that_do_not(tmp_path: Path, pems: Path) -> None:
    a, key, other, locked = pems / "a.pem", pems / "a.key", pems / "b.key", pems / "locked.key"
    assert of_pair(tmp_path, a, other) == [
        f"3:16: tls.certificate: {other} is not the key of {a}; name the pair that was made together"
    ]
    assert of_pair(tmp_path, a, locked) == [
        f"3:16: tls.certificate: {a} and {locked} cannot be loaded as PEM; the key must not be encrypted"
    ]
    assert of_pair(tmp_path, key, a) == [
        f"3:16: tls.certificate: {key} holds no certificate in PEM form (no line with -----BEGIN CERTIFICATE-----)",
        f"4:8: tls.key: {a} may be read by others than its owner (mode 0644); run: chmod 600 {a}",
    ]
    assert of_pair(tmp_path, "/nowhere/c.pem", "/nowhere/k.pem") == [
        "3:16: tls.certificate: /nowhere/c.pem cannot be read: No such file or directory",
        "4:8: tls.key: /nowhere/k.pem cannot be read: No such file or directory",
    ]


def test_a_broken_certificate(tmp_path: Path, pems: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert of_pair(tmp_path, broken, pems / "a.key") == [
        f"3:16: tls.certificate: {broken} and {pems}/a.key cannot be loaded as PEM; the key must not be encrypted"
    ]


def test_a_key_from_systemd(tmp_path: Path, pems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = changed(TLS, f"tls: {{certificate: {pems}/a.pem}}\n")
    assert mistakes(tmp_path, text, certificates=True) == [
        "2:6: tls.key: is missing; write the path of the private key in PEM form"
    ]
    loaded(tmp_path, text)
    # The core tells front workers the path, and cannot see what systemd gives to their unit.
    assert mistakes(tmp_path, text, secrets=True) == [
        "2:6: tls.key: is missing; write the path of the private key in PEM form; "
        "if it is a credential of the fronts' unit, /run/credentials/sidegate-front.service/tls.key"
    ]
    credential = tmp_path / "tls.key"
    credential.write_bytes((pems / "a.key").read_bytes())
    credential.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert loaded(tmp_path, text, certificates=True).tls == (TlsPair(pems / "a.pem", credential),)


def test_a_portal_with_a_user_of_its_own(tmp_path: Path) -> None:
    url = 'url: "https://login.example.org"'
    assert loaded(tmp_path, changed(PORTAL, f"{{{url}}}")).portal.user is None
    own = loaded(tmp_path, changed(PORTAL, f"{{{url}, user: nobody}}"))
    assert own.portal.user == "nobody"
    assert "user: nobody" in show(own, only_changed=True)
    with pytest.raises(ConfigErrors, match=r"portal\.user: is no user of this machine"):
        loaded(tmp_path, changed(PORTAL, f"{{{url}, user: no one}}"))
