"""Core away, core hanging, settings that cannot be used: the temporary reply, and recovery without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxy.link.messages import Accept, Ask, Ended, Hello, Refusals, Reload
from tests.fronts.conftest import Rig
from tests.support.fake_backend import Peer
from tests.support.fake_core import RIGHT, accept_all, plain_login

UNAVAILABLE = b"NO [UNAVAILABLE] Temporary authentication failure\r\n"


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A worker of its own for every test here."""
    return make_rig()


def try_login(client: Peer, tag: bytes) -> bytes:
    client.send(tag + b" LOGIN alice " + RIGHT.encode() + b"\r\n")
    return client.until(tag)[-1].removeprefix(tag + b" ")


def test_core_down_is_temporary_and_sessions_outlive_it(rig: Rig) -> None:
    session = rig.log_in()
    rig.core.stop()
    rig.wait_for(lambda: rig.logged("the link to the core is lost"))
    client = rig.tls("imaps")
    client.line()
    assert try_login(client, b"a1") == UNAVAILABLE
    session.send(b"b NOOP\r\n")
    assert session.until(b"b ")[-1] == b"b OK done\r\n"

    rig.core.start()
    hello = rig.core.wait(Hello, 2)[1]
    assert isinstance(hello, Hello)
    assert [s.app_password_id for s in hello.sessions] == [7]
    rig.wait_for(lambda: rig.logged("the core answers again"))
    assert try_login(client, b"a2").startswith(b"OK")
    refusals = rig.core.wait(Refusals)
    assert refusals[0].rows[0].reason == "core_unavailable"  # type: ignore[union-attr]


def test_what_the_new_core_wants_cut_goes_before_any_verdict(rig: Rig) -> None:
    first, second = rig.log_in(), rig.log_in()
    asks = [ask for ask in rig.core.of(Ask) if isinstance(ask, Ask)]
    rig.core.stop()
    rig.core.welcome.cut = [asks[0].session_id]
    rig.core.start()
    assert first.rest().startswith(b"* BYE ")
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert (ended.session_id, ended.why) == (asks[0].session_id, "revoked")
    second.send(b"b NOOP\r\n")
    assert second.until(b"b ")[-1] == b"b OK done\r\n"


def test_a_core_that_hangs_is_a_timeout_and_its_late_verdict_starts_nothing(rig: Rig) -> None:
    rig.core.decide = lambda ask: None
    client = rig.tls("imaps")
    client.line()
    start = time.monotonic()
    assert try_login(client, b"a1") == UNAVAILABLE
    assert 0.4 < time.monotonic() - start < 3
    (ask,) = rig.core.of(Ask)
    assert isinstance(ask, Ask)
    rig.core.send(plain_login(ask.question, ask.session_id))
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.session_id == ask.session_id
    rig.core.decide = accept_all
    assert try_login(client, b"a2").startswith(b"OK")
    assert len({a.session_id for a in rig.core.of(Ask) if isinstance(a, Ask)}) == 2


def test_a_core_that_dies_in_the_middle_of_a_question(rig: Rig) -> None:
    def die(ask: Ask) -> None:
        rig.core._loop.call_soon(lambda: [w.transport.abort() for w in rig.core._writers])

    rig.core.decide = die
    client = rig.tls("imaps")
    client.line()
    assert try_login(client, b"a1") == UNAVAILABLE
    rig.core.decide = accept_all
    rig.core.wait(Hello, 2)
    rig.wait_for(lambda: try_login(client, b"a2").startswith(b"OK"))


def test_an_unknown_kind_of_backend_login_is_our_fault(rig: Rig) -> None:
    def newer(ask: Ask) -> Accept:
        answer = plain_login(ask.question, ask.session_id)
        answer.login.kind = "from-the-future"
        return answer

    rig.core.decide = newer
    client = rig.tls("imaps")
    client.line()
    assert try_login(client, b"a1") == UNAVAILABLE
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.fault == "protocol"


def reload(rig: Rig) -> Reload:
    w = rig.core.welcome
    return Reload(w.hostname, w.portal_url, w.tls, w.fronts, w.backends, w.limits)


def test_reload_changes_new_connections_and_spares_sessions(rig: Rig) -> None:
    session = rig.log_in()
    new = reload(rig)
    new.hostname = "renamed.example.test"
    new.portal_url = "https://other.example.test"
    rig.core.send(new)

    def renamed() -> bool:
        client = rig.tls("smtps")
        return client.line().startswith(b"220 renamed.example.test")

    rig.wait_for(renamed)
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice wrong\r\n")
    assert b"https://other.example.test" in client.until(b"a1")[-1]
    session.send(b"b NOOP\r\n")
    assert session.until(b"b ")[-1] == b"b OK done\r\n"


def test_a_reload_with_an_unreadable_certificate_keeps_the_old_settings(rig: Rig) -> None:
    new = reload(rig)
    new.hostname = "renamed.example.test"
    new.tls = [type(new.tls[0])("/nowhere/cert.pem", "/nowhere/key.pem", [])]
    rig.core.send(new)
    rig.wait_for(lambda: rig.logged("settings not taken"))
    client = rig.tls("smtps")
    assert client.line().startswith(b"220 mail.example.test")
