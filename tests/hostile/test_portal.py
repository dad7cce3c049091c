"""The running portal under attack: what it writes down, and that strangers keep nobody out."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from proxy.portal.http import MAX_CONNECTIONS
from tests.hostile.stand import Stand, rest, rss
from tests.hostile.test_words import assert_no_secret
from tests.support.person import Person
from tests.support.sidegate import PORTAL_URL

BOB = "bob.portal@example.org"
PASSWORD = "canary-portal-Rt6yHn"
NEXT_PASSWORD = "canary-portal-next-Wm2q"
TYPED = "canary-typed-Bv4dKs"
"""A wrong password; and what is typed into a name field, as people do."""
EVIL = '\x1b]0;x\x07\nlevel=error event="let in" user=<root>\r\n\u202e\u2028"'


def port_of(stand: Stand) -> int:
    return int(stand.gate.settings["portal"]["listen"].rpartition(":")[2])


def word_of(stand: Stand, *arguments: str) -> str:
    """The last word that a command prints."""
    done = stand.gate.cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.fixture(scope="module")
def told(shared: Stand) -> Stand:
    """A person's way through the portal, with every secret that there is, and strangers who type what they like."""
    assert shared.gate.cli("accounts", "add", BOB, "--password-file", "-", stdin=PASSWORD).returncode == 0
    assert shared.gate.cli("mfa", "enable", BOB).returncode == 0
    code = word_of(shared, "accounts", "enrolment-code", BOB)
    stranger = Person(port_of(shared), PORTAL_URL, address="127.0.0.9", agent="Evil \u202e\t\"' level=error")
    for name, password in ((BOB, TYPED), (TYPED, TYPED), (EVIL, EVIL), (f"{BOB}{EVIL}", TYPED)):
        assert stranger.sign_in(name, password).status_code in (400, 429)
    assert (
        stranger.get("/" + TYPED + "%0a%1b%5b2J?x=" + TYPED, **{"x-forwarded-for": "1.2.3.4%0a" + TYPED}).status_code
        == 404
    )
    person = Person(port_of(shared), PORTAL_URL, address="127.0.0.8")
    assert person.sign_in(BOB, PASSWORD).headers["location"] == "/enrol"
    assert person.post("/enrol", code=TYPED).status_code == 400
    person.enrol(code)
    secret = person.mint("laptop")
    assert person.post("/app-passwords/new", name=EVIL, scope="imap").status_code in (303, 400)
    other = Person(port_of(shared), PORTAL_URL, address="127.0.0.7")
    assert other.sign_in(BOB, PASSWORD).headers["location"] == "/challenge"
    assert other.post("/challenge/totp", code="12 34 5x").status_code == 400
    assert other.post("/challenge/recovery_code", code=person.recovery_codes[0]).status_code == 303
    link = word_of(shared, "accounts", "set-password-link", BOB).rpartition("/")[2]
    changed = other.post(f"/set-password/{link}", new=NEXT_PASSWORD, again=NEXT_PASSWORD)
    assert changed.status_code == 303, changed.text
    shared.secrets += [PASSWORD, NEXT_PASSWORD, TYPED, code, link, *stranger.secrets, *person.secrets, *other.secrets]
    raw = base64.b32decode(person.totp.secret)
    shared.secrets += [raw.hex(), base64.b64encode(raw).decode(), secret.replace("-", " ")]
    for browser in (stranger, person, other):
        browser.close()
    return shared


def test_the_way_through_was_whole(told: Stand) -> None:
    """Else nothing below would be shown."""
    done = told.gate.cli("audit", "--account", BOB)
    for event in (
        "enrolment_code_issued",
        "sign_in_refused",
        "factor_added",
        "recovery_codes_made",
        "recovery_code_used",
        "app_password_created",
        "account_password_changed",
    ):
        assert event in done.stdout, event
    assert len(told.secrets) > 25


def test_no_secret_of_the_portal_is_in_the_log_or_on_a_terminal(told: Stand) -> None:
    assert_no_secret(told, "log", (told.gate.root / "serve.log").read_bytes())
    for command in (
        ("audit",),
        ("audit", "--json"),
        ("accounts", "show", BOB),
        ("why", BOB),
        ("passwords", "list", BOB),
    ):
        done = told.gate.cli(*command)
        assert done.returncode == 0, (command, done.stderr)
        assert_no_secret(told, " ".join(command), (done.stdout + done.stderr).encode())
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", done.stdout) is None, command


def test_no_secret_of_the_portal_is_in_a_file(told: Stand) -> None:
    seen = set()
    for path in told.gate.root.rglob("*"):
        if path.is_file() and path.name not in ("master-password", "service-password"):
            seen.add(path.name)
            assert_no_secret(told, str(path), path.read_bytes())
    assert {"sidegate.db", "sidegate.db-wal", "serve.log", "portal-1"} <= seen


def test_what_strangers_type_is_no_line_of_the_log(told: Stand) -> None:
    log = told.gate.log()
    assert 'event="sign-in refused"' in log
    assert "\x1b" not in log
    assert "\u202e" not in log
    assert "user=<root>" not in log
    for line in log.splitlines():
        assert re.match(r"time=\S+ level=|ready$|sidegate", line), line


# ---- floods -------------------------------------------------------------------------------------


def page(stand: Stand) -> float:
    """Seconds until somebody who knows no better has the sign-in page."""
    began = time.monotonic()
    assert httpx.get(f"http://127.0.0.1:{port_of(stand)}/sign-in", timeout=30).status_code == 200
    return time.monotonic() - began


def test_connections_that_never_ask_keep_nobody_out(stand: Stand) -> None:
    (portal,) = stand.children()["portal"]
    page(stand)
    before = rss(portal)
    with contextlib.ExitStack() as opened:
        slow = []
        for n in range(MAX_CONNECTIONS + 300):
            sock = opened.enter_context(socket.create_connection(("127.0.0.1", port_of(stand)), 10))
            sock.sendall((b"", b"G", b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nname=")[n % 3])
            slow.append(sock)
        assert page(stand) < 10
        assert rss(portal) - before < 48 * 2**20
        assert rest(slow[0]) == b"", "who has waited longest made room"
    assert page(stand) < 10


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_without_end_is_cut_off(stand: Stand, framing: str) -> None:
    (portal,) = stand.children()["portal"]
    page(stand)
    before = rss(portal)

    def flood(n: int) -> bytes:
        head = b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\n" % PORTAL_URL.encode()
        head += b"Content-Type: application/x-www-form-urlencoded\r\n"
        head += b"Content-Length: 9999999999\r\n\r\n" if framing == "length" else b"Transfer-Encoding: chunked\r\n\r\n"
        piece = b"x" * 65536 if framing == "length" else b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with socket.create_connection(("127.0.0.1", port_of(stand)), 30) as sock:
            sock.sendall(head)
            with contextlib.suppress(OSError):
                for _ in range(400):
                    sock.sendall(piece)
            sock.settimeout(30)
            return rest(sock)

    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(flood, range(8)))
    assert rss(portal) - before < 32 * 2**20
    assert any(b" 413 " in answer for answer in answers)
    assert all(answer == b"" or b" 413 " in answer for answer in answers)
    assert page(stand) < 10


RAW = [
    b"GET //account-password",
    b"GET /static/../account-password",
    b"GET /./account-password",
    b"GET /account-password/",
    b"GET http://evil.example/account-password",
    b"GET /static/..%2f..%2f..%2f..%2fetc/passwd",
    b"GET /static/....//....//etc/passwd",
    b"GET /\xff",
    b"GET *",
    b"OPTIONS *",
    b"CONNECT evil.example:25",
    b"TRACE /sign-in",
    b"PUT /sign-in",
    b"PRI *",
]


@pytest.mark.parametrize("request_", RAW)
def test_no_spelling_of_a_path_leads_around_the_sign_in(stand: Stand, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port_of(stand)), 10) as sock:
        sock.sendall(request_ + b" HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        answered = rest(sock)
    assert answered.split(b" ")[1] in (b"303", b"400", b"404", b"405"), answered[:100]
    assert b"evil" not in answered
    assert b"root:" not in answered
    location = re.search(rb"(?i)\r\nlocation: (\S+)", answered)
    assert location is None or location[1].startswith(b"/sign-in?next=/")


def test_other_hosts_of_the_same_address_are_the_same_portal(stand: Stand) -> None:
    """No answer is made from Host, so none can be poisoned through it."""
    answers = {
        re.sub(
            rb"\r\ndate: [^\r]*",
            b"",
            httpx.get(f"http://127.0.0.1:{port_of(stand)}/sign-in", headers={"host": host}).content,
        )
        for host in ("login.example.org", "evil.example", "127.0.0.1", "login.example.org:1@evil.example")
    }
    assert len(answers) == 1
