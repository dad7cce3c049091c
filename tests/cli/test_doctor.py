"""doctor against fronts and backends that behave and that do not."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from proxy.cli.doctor import backends, certificates, fronts
from proxy.cli.doctor.finding import Finding, State
from proxy.config.settings import (
    Address,
    Backend,
    BackendTls,
    ClientAddress,
    Config,
    Front,
    FrontTls,
    Login,
    Strategy,
    TlsPair,
)
from proxy.domain.model import Protocol
from tests.admin.office import Office, configuration
from tests.cli.conftest import Shell
from tests.cli.test_host import give_files
from tests.support.fake_backend import FakeBackend, Peer

Script = Callable[[Peer], None]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def serve() -> Iterator[Callable[[Script], int]]:
    started: list[FakeBackend] = []

    def start(script: Script) -> int:
        started.append(FakeBackend(script))
        return started[-1].port

    yield start
    for server in started:
        server.close()
        assert server.errors == []


def smtp(*, xclient: str = "never", bare_lf: bool = False, offers: tuple[str, ...] = ("AUTH PLAIN",)) -> Script:
    """A submission server. XCLIENT `never`, `trusted` (not from a stranger) or `always`."""

    def script(peer: Peer) -> None:
        peer.send(b"220 mx ESMTP\r\n")
        address = "us"
        while line := peer.line():
            if not line.endswith(b"\r\n") and not bare_lf:
                peer.send(b"521 5.5.2 bare <LF>\r\n")
                return
            verb = line.split()[0].upper()
            if verb == b"EHLO":
                allowed = xclient == "always" or (xclient == "trusted" and address == "us")
                keywords = ["mx", *offers, *(["XCLIENT NAME ADDR"] if allowed else [])]
                last = len(keywords) - 1
                peer.send("".join(f"250{' ' if n == last else '-'}{k}\r\n" for n, k in enumerate(keywords)).encode())
            elif verb == b"XCLIENT":
                address = line.split()[1].decode()
                peer.send(b"220 mx ESMTP\r\n")
            elif verb == b"QUIT":
                peer.send(b"221 bye\r\n")
                return
            else:
                peer.send(b"250 ok\r\n")

    return script


def imap(*capabilities: str, greeting: bytes = b"* OK hello\r\n") -> Script:
    def script(peer: Peer) -> None:
        peer.send(greeting)
        while line := peer.line():
            tag, verb = line.split()[:2]
            if verb.upper() == b"CAPABILITY":
                peer.send(f"* CAPABILITY IMAP4rev1 {' '.join(capabilities)}\r\n".encode() + tag + b" OK done\r\n")
            else:
                peer.send(tag + b" OK done\r\n")

    return script


def ldap(*, context: ssl.SSLContext | None = None, implicit: bool = False, answer: bytes = b"") -> Script:
    """A directory that answers any request, after StartTLS if there is a context; RFC 4511 sections 4.5.2, 4.14."""

    def script(peer: Peer) -> None:
        if context is not None and implicit:
            peer.start_tls(context, server_side=True)
        elif context is not None:
            header = peer.read(2)
            assert b"1.3.6.1.4.1.1466.20037" in peer.read(header[1])
            peer.send(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")
            peer.start_tls(context, server_side=True)
        header = peer.read(2)
        number = peer.read(header[1])[2:3]
        peer.send(answer or b"\x30\x0c\x02\x01" + number + b"\x65\x07\x0a\x01\x32\x04\x00\x04\x00")
        peer.rest()

    return script


def a_backend(protocol: Protocol, port: int, strategy: Strategy, **more: object) -> Backend:
    made = Backend(
        name="it",
        protocol=protocol,
        addresses=(Address("127.0.0.1", port),),
        tls=BackendTls.NONE,
        ca=None,
        server_name=None,
        username="{account}",
        login=Login(strategy),
        client_address=ClientAddress.NONE,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def look(config: Config, *checked: Backend) -> list[Finding]:
    return list(backends.backends(replace(config, backends={one.name: one for one in checked})))


# ---- backends --------------------------------------------------------------------------------


def test_a_submission_server_that_trusts_whom_it_should(tmp_path: Path, serve: Callable[[Script], int]) -> None:
    port = serve(smtp(xclient="trusted"))
    found = look(configuration(tmp_path), a_backend(Protocol.SMTP, port, Strategy.XCLIENT))
    assert [(finding.state, finding.text) for finding in found] == [
        (State.OK, f"127.0.0.1:{port} answers and offers what xclient needs"),
        (State.OK, f"127.0.0.1:{port} takes XCLIENT from this host and not from clients"),
        (State.OK, f"127.0.0.1:{port} accepts no bare LF"),
    ]


def test_a_backend_that_wants_a_proxy_header_gets_one(tmp_path: Path, serve: Callable[[Script], int]) -> None:
    headers = []

    def script(peer: Peer) -> None:
        headers.append(peer.read(16))
        smtp()(peer)

    port = serve(script)
    found = look(
        configuration(tmp_path),
        a_backend(Protocol.SMTP, port, Strategy.STATIC, client_address=ClientAddress.PROXY_V2),
    )
    assert [finding.state for finding in found] == [State.OK] * 3
    assert headers == [b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"] * 3


def test_xclient_from_anybody_and_bare_lf_are_warned_of(tmp_path: Path, serve: Callable[[Script], int]) -> None:
    port = serve(smtp(xclient="always", bare_lf=True))
    found = look(configuration(tmp_path), a_backend(Protocol.SMTP, port, Strategy.XCLIENT))
    assert [finding.state for finding in found] == [State.OK, State.WARNING, State.WARNING]
    assert "takes XCLIENT from a client's own address" in found[1].text
    assert "accepts a bare LF" in found[2].text
    assert "smtpd_forbid_bare_newline" in found[2].todo


@pytest.mark.parametrize(
    ("protocol", "script", "strategy", "says"),
    [
        (Protocol.SMTP, smtp(), Strategy.XCLIENT, "does not offer XCLIENT to this host"),
        (Protocol.SMTP, smtp(), Strategy.DOVECOT_TOKEN, "does not offer OAUTHBEARER"),
        (Protocol.SMTP, smtp(offers=()), Strategy.STATIC, "does not offer PLAIN"),
        (Protocol.IMAP, imap("AUTH=LOGIN"), Strategy.MASTER_USER, "does not offer PLAIN"),
        (Protocol.IMAP, imap("AUTH=PLAIN"), Strategy.DOVECOT_TOKEN, "does not offer OAUTHBEARER"),
        (Protocol.IMAP, imap(greeting=b"220 I am SMTP\r\n"), Strategy.MASTER_USER, ""),
        (Protocol.IMAP, imap(greeting=b"* PREAUTH hello\r\n"), Strategy.MASTER_USER, ""),
    ],
)
def test_what_a_strategy_needs_and_is_not_there_fails(
    tmp_path: Path, serve: Callable[[Script], int], protocol: Protocol, script: Script, strategy: Strategy, says: str
) -> None:
    first = look(configuration(tmp_path), a_backend(protocol, serve(script), strategy))[0]
    assert first.state is State.FAILED
    assert says in first.text
    assert first.todo


def test_an_imap_server_that_offers_what_is_needed(tmp_path: Path, serve: Callable[[Script], int]) -> None:
    port = serve(imap("AUTH=PLAIN", "AUTH=OAUTHBEARER", "SASL-IR"))
    for strategy in (Strategy.MASTER_USER, Strategy.DOVECOT_TOKEN, Strategy.STATIC):
        (finding,) = look(configuration(tmp_path), a_backend(Protocol.IMAP, port, strategy))
        assert finding.state is State.OK, finding


def test_a_certificate_that_is_not_accepted_is_named(
    tmp_path: Path, serve: Callable[[Script], int], ca: trustme.CA, server_context: ssl.SSLContext
) -> None:
    def script(peer: Peer) -> None:
        peer.start_tls(server_context, server_side=True)
        imap("AUTH=PLAIN")(peer)

    trusted = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(trusted))
    backend = a_backend(Protocol.IMAP, serve(script), Strategy.STATIC, tls=BackendTls.IMPLICIT, server_name="localhost")
    (finding,) = look(configuration(tmp_path), backend)
    assert (finding.state, "its certificate is not accepted" in finding.text) == (State.FAILED, True)
    (finding,) = look(configuration(tmp_path), replace(backend, ca=trusted))
    assert finding.state is State.OK
    (finding,) = look(configuration(tmp_path), replace(backend, ca=trusted, server_name="other.example.org"))
    assert (finding.state, "not valid for 'other.example.org'" in finding.text) == (State.FAILED, True)


def test_nobody_there(tmp_path: Path) -> None:
    (finding,) = look(configuration(tmp_path), a_backend(Protocol.IMAP, 9, Strategy.STATIC))
    assert (finding.state, finding.text) == (State.FAILED, "127.0.0.1:9: connection refused")


def test_a_directory_answers(
    tmp_path: Path, serve: Callable[[Script], int], ca: trustme.CA, server_context: ssl.SSLContext
) -> None:
    trusted = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(trusted))
    more = {"ca": trusted, "server_name": "localhost"}
    strategy = Strategy.PROXIED_AUTHORIZATION
    found = look(configuration(tmp_path), a_backend(Protocol.LDAP, serve(ldap()), strategy))
    secure = serve(ldap(context=server_context))
    found += look(configuration(tmp_path), a_backend(Protocol.LDAP, secure, strategy, tls=BackendTls.STARTTLS, **more))
    assert [(finding.state, "answers (whom the service may speak for" in finding.text) for finding in found] == [
        (State.OK, True),
        (State.OK, True),
    ]
    other = serve(ldap(answer=b"* OK I am IMAP\r\n"))
    (finding,) = look(configuration(tmp_path), a_backend(Protocol.LDAP, other, strategy))
    assert finding.state is State.FAILED


# ---- fronts ----------------------------------------------------------------------------------


def a_front(port: int, protocol: Protocol, tls: FrontTls, **more: object) -> Front:
    return replace(Front("it", protocol, Address("127.0.0.1", port), tls, "mail"), **more)  # type: ignore[arg-type]


def test_fronts_with_tls_both_ways(
    tmp_path: Path, serve: Callable[[Script], int], server_context: ssl.SSLContext
) -> None:
    def implicit(peer: Peer) -> None:
        peer.start_tls(server_context, server_side=True)
        peer.send(b"* OK hello\r\n")
        peer.line()

    def starttls(greeting: bytes, answers: dict[bytes, bytes]) -> Script:
        def script(peer: Peer) -> None:
            peer.send(greeting)
            while line := peer.line():
                peer.send(next(answer for verb, answer in answers.items() if verb in line))
                if b"STARTTLS" in line:
                    peer.start_tls(server_context, server_side=True)

        return script

    imap_answers = {b"STARTTLS": b"d OK begin\r\n"}
    smtp_answers = {b"EHLO": b"250-us\r\n250 STARTTLS\r\n", b"STARTTLS": b"220 go\r\n"}
    listed = (
        a_front(serve(implicit), Protocol.IMAP, FrontTls.IMPLICIT),
        a_front(serve(starttls(b"* OK hello\r\n", imap_answers)), Protocol.IMAP, FrontTls.STARTTLS),
        a_front(serve(starttls(b"220 us\r\n", smtp_answers)), Protocol.SMTP, FrontTls.STARTTLS),
        a_front(serve(ldap(context=server_context, implicit=True)), Protocol.LDAP, FrontTls.IMPLICIT),
        a_front(serve(ldap(context=server_context)), Protocol.LDAP, FrontTls.STARTTLS),
    )
    found = list(fronts.fronts(replace(configuration(tmp_path), fronts=listed)))
    assert [finding.state for finding in found] == [State.OK] * 5
    assert all("TLSv1.3" in finding.text for finding in found)


def test_fronts_that_are_somebody_else_or_nobody(tmp_path: Path, serve: Callable[[Script], int]) -> None:
    def web(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n")
        peer.line()

    listed = (
        a_front(serve(web), Protocol.IMAP, FrontTls.STARTTLS),
        a_front(serve(web), Protocol.SMTP, FrontTls.IMPLICIT),
        a_front(9, Protocol.SMTP, FrontTls.IMPLICIT),
        a_front(9, Protocol.SMTP, FrontTls.IMPLICIT, proxy_protocol_from=("127.0.0.0/8",)),
    )
    found = list(fronts.fronts(replace(configuration(tmp_path), fronts=listed)))
    assert [finding.state for finding in found] == [State.FAILED, State.FAILED, State.FAILED, State.NOTE]
    assert "does not speak imap" in found[0].text
    assert "TLS failed" in found[1].text
    assert "connection refused" in found[2].text


def test_a_listener_on_every_address_is_reached_by_loopback() -> None:
    assert fronts.reachable(Address("0.0.0.0", 993)) == "127.0.0.1"
    assert fronts.reachable(Address("::", 993)) == "::1"
    assert fronts.reachable(Address("192.0.2.1", 993)) == "192.0.2.1"


# ---- certificates, the whole -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "ends_in", "states", "says"),
    [
        (["mail.example.org"], timedelta(days=60), [State.OK], "valid for 59 days; names: mail.example.org"),
        (["*.example.org"], timedelta(days=60), [State.OK], "valid for 59 days"),
        (["mail.example.org"], timedelta(days=10), [State.WARNING], "ends in 9 days"),
        (["mail.example.org"], timedelta(days=-3), [State.FAILED], "ended 3 days ago"),
        (["other.example.org"], timedelta(days=60), [State.OK, State.WARNING], "none is for mail.example.org"),
    ],
)
def test_certificates(
    tmp_path: Path, ca: trustme.CA, names: list[str], ends_in: timedelta, states: list[State], says: str
) -> None:
    now = datetime.now(UTC)
    pair = ca.issue_cert(*names, not_before=now - timedelta(days=100), not_after=now + ends_in)
    path = tmp_path / "cert.pem"
    pair.cert_chain_pems[0].write_to_path(str(path))
    config = replace(configuration(tmp_path), tls=(TlsPair(path, tmp_path / "key.pem"),))
    found = list(certificates.certificates(config))
    assert [finding.state for finding in found] == states
    assert says in found[-1].text


def test_the_whole_examination_over_the_command_line(shell: Shell, office: Office) -> None:
    give_files(shell.root)
    text = shell.config.read_text()
    for nobodys, used in enumerate(("10993", "10587", "10143", "10025"), start=1):
        text = text.replace(f":{used}", f":{nobodys}")
    shell.config.write_text(text)
    shell("init")
    result = shell("doctor", "--json")
    found = {(row["check"], row["state"]) for row in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert {
        ("configuration", "ok"),
        ("keys", "ok"),
        ("store", "ok"),
        ("core", "ok"),
        ("front imap:1", "failed"),
        ("backend mail", "failed"),
        ("exposure", "note"),
    } <= found
    shown = shell("doctor")
    assert shown.exit_code == 1
    assert "failed   backend submission: 127.0.0.1:4: connection refused" in shown.stdout
    assert shown.stderr.endswith("4 failed\n")


def test_a_bad_configuration_and_a_core_that_is_down(shell: Shell) -> None:
    result = shell("doctor")
    assert (result.exit_code, "failed   configuration:" in result.stdout) == (1, True)
    give_files(shell.root)
    found = {row["check"]: row for row in json.loads(shell("doctor", "--json").stdout)}
    assert "sidegate init" in found["keys"]["text"]
    assert found["store"]["state"] == "failed"
    assert "sidegate serve" in found["core"]["text"]
