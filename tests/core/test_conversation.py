"""Questions and answers over a real store: who gets in, what the others are told, and what is written down about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.config.settings import Limits
from proxy.core import conversation, takeover
from proxy.core.verifying import Verifier
from proxy.domain.audit import Event
from proxy.domain.backend_login import ProxiedLogin, ServiceIdentityLogin
from proxy.domain.model import AccountKind, EndReason, Protocol
from proxy.domain.networks import NetworkSet
from proxy.domain.secret import Secret
from proxy.domain.verdicts import SHOWN, Reason, Shown
from proxy.link import messages as m
from proxy.store import accounts, app_passwords, audit, hashing, history
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads
from proxy.wire.events import Fault
from tests.core.scene import ISSUED, Disk, FakePeer, Scene, a_secret, ask

CANARY = "canary hunter2"


class CountedVerifier(Verifier):
    """Argon2 for real, and how often."""

    def __init__(self) -> None:
        self.runs = 0
        super().__init__(self._count)

    def _count(self, phc: str, letters: str) -> bool:
        self.runs += 1
        return hashing.verify(phc, letters)


class NoStore:
    """Any access is a failure: the warm path must not get here."""

    async def read(self, fn: object, *args: object) -> Any:
        raise AssertionError("the store was read")

    async def write(self, fn: object, *args: object, urgent: bool = False) -> Any:
        raise AssertionError("the store was written")


def play(
    tmp_path: Path,
    script: Callable[[Scene, Disk, FakePeer], Awaitable[None]],
    *,
    limits: Limits | None = None,
    peers: int = 1,
) -> None:
    async def run() -> None:
        disk = Disk(tmp_path)
        threads = StoreThreads(disk.store)
        verifier = CountedVerifier()
        scene = Scene(threads, verifier, peers, limits)
        try:
            await script(scene, disk, scene.peers[0])
        finally:
            verifier.close()
            await threads.close()
            disk.store.close()

    asyncio.run(run())


async def answered(scene: Scene, peer: FakePeer, question: m.Ask) -> m.Accept | m.Refuse:
    """Ask, and wait for the answer."""
    before = len(peer.sent)
    scene.says(peer, question)
    async with asyncio.timeout(10):
        while True:
            for message in peer.sent[before:]:
                if isinstance(message, m.Accept | m.Refuse) and message.question == question.question:
                    return message
            await asyncio.sleep(0.001)


async def reason(scene: Scene, peer: FakePeer, question: m.Ask) -> str:
    answer = await answered(scene, peer, question)
    return answer.reason if isinstance(answer, m.Refuse) else "accepted"


def test_a_right_app_password_gets_in(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, secret = disk.mint()
        answer = await answered(scene, peer, ask(secret, "s1", question=42))
        assert answer == m.Accept(
            42, "s1", disk.alice.id, phone.id, 1, m.LoginSetting("xclient", "", "alice@example.org", "")
        )
        session = scene.table.get("s1")
        assert session is not None
        assert (session.account, session.app_password, session.worker, session.live) == (
            "alice@example.org", "phone", 1, False,
        )  # fmt: skip
        scene.says(peer, m.Started("s1", "127.0.0.1:143", "tb 1.0"))
        assert (session.live, session.backend_address, session.program) == (True, "127.0.0.1:143", "tb 1.0")
        scene.says(peer, m.Ended("s1", "closed", 10, 20))
        assert scene.table.get("s1") is None

    play(tmp_path, script)


def test_a_directorys_login_goes_out_whole(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        login = ProxiedLogin("cn=sidegate,dc=org", Secret("service"), "dn:uid=alice,dc=org")
        scene.decider.strategies = dict.fromkeys(scene.config.backends, lambda account: login)
        _, secret = disk.mint()
        answer = await answered(scene, peer, ask(secret))
        assert isinstance(answer, m.Accept)
        assert answer.login == m.LoginSetting("proxied", "dn:uid=alice,dc=org", "cn=sidegate,dc=org", "service")

    play(tmp_path, script)


@pytest.mark.parametrize("spelling", ["ALICE", "alice@example.org", "Alice@EXAMPLE.org", "al"])
def test_every_spelling_of_the_name_and_of_the_secret(tmp_path: Path, spelling: str):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        bob = disk.account("bob@example.org", aliases=("al@example.org",))
        _, secret = disk.mint(account=bob if spelling == "al" else disk.alice)
        assert await reason(scene, peer, ask(f"{secret[:4].upper()}-{secret[4:]} ", name=spelling)) == "accepted"

    play(tmp_path, script)


def test_warm_logins_touch_neither_store_nor_thread(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        assert await reason(scene, peer, ask(secret, "s1")) == "accepted"
        scene.decider._store = NoStore()  # type: ignore[assignment]
        scene.decider._verifier = None  # type: ignore[assignment]
        peer.take()
        scene.says(peer, ask(secret, "s2", name="Alice@example.org", question=2))
        scene.says(peer, ask(secret, "s3", front="smtp:465", question=3))
        assert [type(message) for message in peer.take()] == [m.Accept, m.Accept]  # at once: nothing was awaited
        session = scene.table.get("s3")
        assert session is not None
        assert (session.protocol, session.backend) == (Protocol.SMTP, "submission")

    play(tmp_path, script)


def end_it(disk: Disk, phone: Any, why: EndReason) -> None:
    with disk.store.writing() as c:
        app_passwords.end(c, [phone.id], ISSUED, why)


def disable(disk: Disk) -> None:
    with disk.store.writing() as c:
        accounts.set_enabled(c, disk.alice.id, False)


REFUSED: list[tuple[str, Reason, Callable[[Scene, Disk], m.Ask]]] = []


def refused(reason: Reason) -> Callable[[Callable[[Scene, Disk], m.Ask]], Callable[[Scene, Disk], m.Ask]]:
    def add(case: Callable[[Scene, Disk], m.Ask]) -> Callable[[Scene, Disk], m.Ask]:
        REFUSED.append((case.__name__, reason, case))
        return case

    return add


@refused(Reason.UNKNOWN_APP_PASSWORD)
def wrong_secret(scene: Scene, disk: Disk) -> m.Ask:
    disk.mint()
    return ask(a_secret())


@refused(Reason.UNKNOWN_APP_PASSWORD)
def somebody_elses_secret(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint(account=disk.account("bob@example.org"))
    return ask(secret)


@refused(Reason.UNKNOWN_ACCOUNT)
def nobody(scene: Scene, disk: Disk) -> m.Ask:
    return ask(a_secret(), name="nobody")


@refused(Reason.REVOKED)
def revoked(scene: Scene, disk: Disk) -> m.Ask:
    phone, secret = disk.mint()
    end_it(disk, phone, EndReason.REVOKED)
    return ask(secret)


@refused(Reason.EXPIRED)
def expired_and_swept(scene: Scene, disk: Disk) -> m.Ask:
    phone, secret = disk.mint()
    end_it(disk, phone, EndReason.EXPIRED)
    return ask(secret)


@refused(Reason.EXPIRED)
def expired_just_now(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint(expires=ISSUED)
    return ask(secret)


@refused(Reason.ACCOUNT_DISABLED)
def disabled(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint()
    disable(disk)
    return ask(secret)


@refused(Reason.WRONG_SCOPE)
def out_of_scope(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint(scopes=frozenset({Protocol.SMTP}))
    return ask(secret)


@refused(Reason.WRONG_NETWORK)
def from_elsewhere(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint(networks=("10.0.0.0/8",))
    return ask(secret)


@refused(Reason.AUTHZID_MISMATCH)
def for_somebody_else(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint()
    return ask(secret, authzid="bob")


@refused(Reason.FOREIGN_DOMAIN)
def foreign(scene: Scene, disk: Disk) -> m.Ask:
    _, secret = disk.mint(account=disk.account("carol@elsewhere.test"))
    return ask(secret, name="carol@elsewhere.test")


@refused(Reason.BAD_LOGIN_NAME)
def no_name(scene: Scene, disk: Disk) -> m.Ask:
    return ask(a_secret(), name="alice*root")


@pytest.mark.parametrize(
    ("case", "why"), [(case, why) for _, why, case in REFUSED], ids=[name for name, _, _ in REFUSED]
)
def test_refusals_look_alike_and_the_operator_knows_why(tmp_path: Path, case: Any, why: Reason):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        assert await reason(scene, peer, case(scene, disk)) == why
        assert SHOWN[why] is Shown.NOT_ACCEPTED
        assert len(scene.table) == 0
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            (record,) = audit.read(c)
            assert (record.event.event, record.event.reason, record.event.network) == (
                Event.LOGIN_REFUSED, why, "203.0.113.9/32",
            )  # fmt: skip
            assert audit.verify(c) == []
            rows = history.last(c, disk.alice.id)
        about_alice = why not in {Reason.UNKNOWN_ACCOUNT, Reason.FOREIGN_DOMAIN, Reason.BAD_LOGIN_NAME}
        assert [row.reason for row in rows] == ([why] if about_alice else [])

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (ask(CANARY), Reason.NOT_APP_PASSWORD),
        (ask("abcd-efgh-jkmn-pqrs-tuvw"), Reason.NOT_APP_PASSWORD),
        (ask("token", bearer=True), Reason.BEARER_UNSUPPORTED),
    ],
)
def test_what_a_front_should_not_have_asked(tmp_path: Path, question: m.Ask, why: Reason):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        scene.decider._store = NoStore()  # type: ignore[assignment]
        assert await reason(scene, peer, question) == why
        assert len(scene.conversation.limiter) == 0

    play(tmp_path, script)


def test_an_unknown_front_is_our_fault(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        assert await reason(scene, peer, ask(a_secret(), front="imap:1")) == Reason.INTERNAL_ERROR

    play(tmp_path, script)


def test_identical_first_logins_verify_once(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        answers = await asyncio.gather(*(answered(scene, peer, ask(secret, f"s{n}", question=n)) for n in range(10)))
        assert all(isinstance(answer, m.Accept) for answer in answers)
        assert scene.decider._verifier.runs == 1  # type: ignore[attr-defined]

    play(tmp_path, script)


def test_wrong_secrets_cost_no_hash(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        disk.mint()
        for n in range(5):
            await answered(scene, peer, ask(a_secret(), question=n))
        assert scene.decider._verifier.runs == 0  # type: ignore[attr-defined]

    play(tmp_path, script)


def test_when_the_store_is_away_nobody_is_told_a_lie(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()

        class Away(NoStore):
            async def read(self, fn: object, *args: object) -> Any:
                raise StoreUnavailable("store /x: the disk is full")

        scene.decider._store = Away()  # type: ignore[assignment]
        for question in (ask(secret), ask(a_secret(), question=2), ask(a_secret(), name="nobody", question=3)):
            assert await reason(scene, peer, question) == Reason.STORE_UNAVAILABLE
        assert SHOWN[Reason.STORE_UNAVAILABLE] is Shown.UNAVAILABLE
        assert len(scene.conversation.limiter) == 0  # our fault is nobody's failure

    play(tmp_path, script)


def test_too_many_verifications_are_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        monkeypatch.setattr("proxy.core.verifying.MAX_WAITING", 0)
        _, secret = disk.mint()
        assert await reason(scene, peer, ask(secret)) == Reason.BUSY
        assert SHOWN[Reason.BUSY] is Shown.UNAVAILABLE

    play(tmp_path, script)


def test_a_flood_of_guesses_does_not_queue_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        monkeypatch.setattr("proxy.core.decide.MAX_LOOKING", 3)
        _, secret = disk.mint()
        assert await reason(scene, peer, ask(secret, "s1")) == "accepted"
        guesses = [reason(scene, peer, ask(a_secret(), question=10 + n)) for n in range(5)]
        told = await asyncio.gather(*guesses, reason(scene, peer, ask(secret, "s2", question=2)))
        assert sorted(told) == ["accepted"] + [Reason.BUSY] * 2 + [Reason.UNKNOWN_APP_PASSWORD] * 3
        assert await reason(scene, peer, ask(a_secret(), question=20)) == Reason.UNKNOWN_APP_PASSWORD

    play(tmp_path, script)


def test_a_hash_that_cannot_be_read_is_our_fault(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        from proxy.domain.secret import Secret

        _, secret = disk.mint(hash=Secret("$argon2id$damaged"))
        assert await reason(scene, peer, ask(secret)) == Reason.STORE_UNAVAILABLE

    play(tmp_path, script)


def test_a_bug_while_deciding_is_a_temporary_reply(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        scene.decider.strategies = {"mail": lambda account: {}["no such thing"]}  # type: ignore[assignment]
        for n in range(2):  # looking up, and warm
            assert await reason(scene, peer, ask(secret, question=n)) == Reason.INTERNAL_ERROR
        assert len(scene.table) == 0
        text = capsys.readouterr().err
        assert text.count('event="internal error while deciding"') == 2
        assert secret not in text
        assert "$argon2" not in text

    play(tmp_path, script)


def test_the_client_that_left_gets_no_session(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        scene.says(peer, ask(secret))
        peer.close("gone")
        scene.conversation.gone(peer)  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        assert len(scene.table) == 0
        assert peer.sent == []

    play(tmp_path, script)


def test_a_session_id_twice_is_refused_and_the_first_one_stays(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        assert await reason(scene, peer, ask(secret, "s1", question=1)) == "accepted"
        assert await reason(scene, peer, ask(secret, "s1", question=2)) == Reason.INTERNAL_ERROR
        assert scene.table.get("s1") is not None

    play(tmp_path, script)


def test_one_worker_cannot_touch_anothers_sessions(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        other = scene.peers[1]
        assert await reason(scene, peer, ask(secret, "s1")) == "accepted"
        scene.says(other, m.Started("s1", "evil", "evil"))
        scene.says(other, m.Program("s1", "evil"))
        scene.says(other, m.Ended("s1", "evil", 0, 0))
        scene.says(other, m.Census(1, []))
        assert await reason(scene, other, ask(secret, "s1", question=2)) == Reason.INTERNAL_ERROR
        session = scene.table.get("s1")
        assert session is not None
        assert (session.live, session.backend_address, session.program) == (False, "", "tb")

    play(tmp_path, script, peers=2)


# ---- limits ----------------------------------------------------------------------------------


def test_guessing_meets_the_limit_and_a_right_secret_still_gets_in(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        reasons = [await reason(scene, peer, ask(a_secret(), question=n)) for n in range(21)]
        assert reasons == [Reason.UNKNOWN_APP_PASSWORD] * 20 + [Reason.LIMITED]
        assert await reason(scene, peer, ask(secret, "good", question=99)) == "accepted"
        assert await reason(scene, peer, ask(a_secret(), question=100)) == Reason.LIMITED
        scene.monotonic += 16
        assert await reason(scene, peer, ask(a_secret(), question=101)) == Reason.UNKNOWN_APP_PASSWORD
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            told = {record.event.reason for record in audit.read(c) if record.event.event == Event.LOGIN_REFUSED}
        assert told == {Reason.UNKNOWN_APP_PASSWORD}  # the true reason, whatever was shown

    play(tmp_path, script)


def test_what_a_limit_answers_is_one_record_a_minute(tmp_path: Path):
    """Guessing at full speed must not fill the store, nor push Accepted out of what waits for it."""

    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, old = disk.mint()
        end_it(disk, phone, EndReason.REVOKED)
        for n in range(120):
            await answered(scene, peer, ask(a_secret(), question=n))
        await answered(scene, peer, ask(old, question=200))
        assert len(scene.behind._audit) == len(scene.behind._refusals) == 20
        scene.reports.sum_up()
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            events = [record.event for record in audit.read(c)]
            rows = history.last(c, disk.alice.id)
        assert [event.event for event in events].count(Event.LOGIN_REFUSED) == 20
        assert [
            (event.account, event.app_password, event.network, event.reason, event.detail)
            for event in events
            if event.event == Event.LOGINS_REFUSED
        ] == [
            ("alice@example.org", None, "203.0.113.9/32", Reason.UNKNOWN_APP_PASSWORD, "count=100 limited"),
            ("alice@example.org", "phone", "203.0.113.9/32", Reason.REVOKED, "count=1 limited"),
        ]
        counts = {(row.reason, row.app_password_id, row.count) for row in rows}
        assert counts == {
            (Reason.UNKNOWN_APP_PASSWORD, None, 20),
            (Reason.UNKNOWN_APP_PASSWORD, None, 100),
            (Reason.REVOKED, phone.id, 1),
        }

    play(tmp_path, script)


def test_an_old_phone_is_never_counted_and_a_stale_secret_once(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, secret = disk.mint()
        end_it(disk, phone, EndReason.REVOKED)
        stale = a_secret()
        for n in range(100):
            assert await reason(scene, peer, ask(secret, question=n)) == Reason.REVOKED
            assert await reason(scene, peer, ask(stale, question=1000 + n)) == Reason.UNKNOWN_APP_PASSWORD

    play(tmp_path, script)


def test_workers_hear_which_networks_are_limited(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        for n in range(60):
            await answered(scene, peer, ask(a_secret(), question=n, name=f"user{n}"))
        peer.take()
        scene.conversation.tell_limited()
        scene.conversation.tell_limited()  # said once
        assert peer.take() == [m.Limited(["203.0.113.9/32"])]
        scene.monotonic += 16
        scene.conversation.tell_limited()
        assert peer.take() == [m.Limited([])]

    play(tmp_path, script)


def test_the_list_of_limited_networks_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        monkeypatch.setattr(conversation, "MAX_LIMITED", 1)
        for address in ("203.0.113.9", "203.0.113.10"):
            for n in range(60):
                scene.conversation.limiter.refused(scene.monotonic, address, f"user{n}", b"x")
        scene.conversation.tell_limited()
        assert peer.take() == [m.Limited(["203.0.113.9/32"])]

    play(tmp_path, script)


def test_the_session_caps(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, first = disk.mint("one")
        _, second = disk.mint("two")
        assert [await reason(scene, peer, ask(first, f"a{n}", question=n)) for n in range(3)] == [
            "accepted", "accepted", Reason.TOO_MANY_SESSIONS,
        ]  # fmt: skip
        assert await reason(scene, peer, ask(second, "b1")) == "accepted"
        assert await reason(scene, peer, ask(second, "b2")) == Reason.TOO_MANY_SESSIONS
        scene.says(peer, m.Ended("a0", "closed", 0, 0))
        assert await reason(scene, peer, ask(second, "b3", question=7)) == "accepted"

    play(tmp_path, script, limits=Limits(sessions_per_app_password=2, sessions_per_account=3))


# ---- what is written down --------------------------------------------------------------------


def test_audit_last_use_and_lines_of_a_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, secret = disk.mint()
        await answered(scene, peer, ask(secret, "s1", front="smtp:465"))
        scene.now += 5
        scene.says(peer, m.Started("s1", "127.0.0.1:10587", None))
        scene.says(peer, m.Program("s1", "Thunderbird"))
        scene.says(peer, m.Ended("s1", "client closed", 1234, 56, messages=2, recipients=3))
        await scene.behind.write_verdicts()
        await scene.behind.write_uses()
        with disk.store.reading() as c:
            (record,) = audit.read(c)
            event = record.event
            assert (event.event, event.actor, event.account, event.app_password, event.protocol, event.network) == (
                Event.LOGIN_ACCEPTED, "client", "alice@example.org", "phone", "smtp", "203.0.113.9/32",
            )  # fmt: skip
            stored = app_passwords.by_id(c, phone.id)
            assert stored is not None
            use = stored.last_used
            assert use is not None
            assert (use.time, use.address, use.protocol, use.program) == (
                ISSUED + 5, "203.0.113.9", Protocol.SMTP, "Thunderbird",
            )  # fmt: skip

    play(tmp_path, script)
    lines = [line.partition("level=")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        'info logger=core event="login accepted" user=<alice@example.org> app_password=phone protocol=smtp '
        "method=PLAIN rip=203.0.113.9 rport=5555 lip=198.51.100.1 lport=993 TLS=TLSv1.3 program=tb backend=submission "
        "backend_address=127.0.0.1:10587 session=<s1>",
        'info logger=core event="session ended" user=<alice@example.org> app_password=phone protocol=smtp '
        'rip=203.0.113.9 why="client closed" messages=2 session=<s1> in=1234 out=56',
    ]


def test_a_name_that_is_nobodys_is_not_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        secret = a_secret()
        await answered(scene, peer, ask(secret, name="hunter2"))
        await answered(scene, peer, ask(secret, name="hunter2", question=2))
        scene.says(peer, m.Refusals([row("hunter2"), row("alice")], 0))
        await asyncio.sleep(0.1)
        assert secret not in capsys.readouterr().err

    lines = collect(tmp_path, script, capsys)
    assert "hunter2" not in lines


def collect(tmp_path: Path, script: Any, capsys: pytest.CaptureFixture[str]) -> str:
    seen: list[str] = []

    async def wrapped(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        original = capsys.readouterr

        def read() -> Any:
            result = original()
            seen.append(result.err)
            return result

        capsys.readouterr = read  # type: ignore[method-assign]
        await script(scene, disk, peer)

    play(tmp_path, wrapped)
    seen.append(capsys.readouterr().err)
    text = "".join(seen)
    assert "fingerprint=" in text
    assert "user=<?>" in text
    assert "user=<alice@example.org>" in text
    return text


def row(name: str, why: Reason = Reason.NOT_APP_PASSWORD, count: int = 1, address: str = "203.0.113.9") -> m.RefusalRow:
    return m.RefusalRow("imap", why, f"{address}/32", address, name, "tb", "PLAIN", "TLSv1.3", "s9", count)


async def counted(scene: Scene) -> None:
    async with asyncio.timeout(20):
        while scene.conversation._waiting:  # noqa: ASYNC110 - a dict
            await asyncio.sleep(0.001)


def test_refusals_that_cost_no_question(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        rows = [row("ALICE", count=3), row("nobody"), row(""), row("alice", Reason.TLS_REQUIRED, address="203.0.113.7")]
        scene.says(peer, m.Refusals(rows, 5))
        await counted(scene)
        scene.reports.sum_up()
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            told = sorted(
                (r.event.event, r.event.account or "", r.event.network or "", r.event.detail or "")
                for r in audit.read(c)
            )
            rows_of_alice = history.last(c, disk.alice.id)
        assert told == [
            ("exposed_in_clear", "alice@example.org", "203.0.113.7/32", "count=1"),
            ("logins_refused", "", "*", "count=5"),
            ("logins_refused", "", "203.0.113.9/32", "count=2"),
            ("logins_refused", "alice@example.org", "203.0.113.9/32", "count=3"),
        ]
        assert sorted((r.reason, r.count) for r in rows_of_alice) == [
            ("not_app_password", 3),
            ("tls_required", 1),
        ]
        scene.reports.sum_up()  # nothing is left for the next minute
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            assert len(audit.read(c)) == 4

    play(tmp_path, script)


def test_a_dn_that_is_a_login_name_counts_for_its_account(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        bob = disk.account("bob@example.org", aliases=("cn=bob baker,dc=example,dc=org",))
        phone, secret = disk.mint(account=bob)
        dn = "CN=Bob  Baker, DC=example,DC=org"
        scene.says(peer, m.Refusals([row(dn), row("CN=Bob,DC=example,DC=org")], 0))
        await counted(scene)
        accept = await answered(scene, peer, ask(secret, name=dn))
        assert isinstance(accept, m.Accept)
        assert accept.app_password_id == phone.id
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            assert [(r.reason, r.count) for r in history.last(c, bob.id)] == [("not_app_password", 1)]

    play(tmp_path, script)


def test_a_flood_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        for _ in range(100):
            scene.says(peer, m.Refusals([row(f"user{n}", count=2) for n in range(10)], 0))
            await counted(scene)
        scene.reports.configure(60, 600.0, ())
        scene.reports.sum_up()

    play(tmp_path, script)
    lines = capsys.readouterr().err.splitlines()
    assert sum('event="login refused"' in line for line in lines) == 60
    # also what a reload of the configuration finds is told
    (summary,) = [line for line in lines if 'event="logins refused"' in line]
    assert summary.endswith("network=203.0.113.9/32 count=1880")


@pytest.mark.parametrize(
    ("fault", "why", "cure"),
    [
        ("connect", Reason.BACKEND_UNAVAILABLE, "see that the server runs, listens there"),
        ("credential", Reason.BACKEND_REFUSED_US, "backends.mail.login"),
        ("unknown_account", Reason.BACKEND_UNKNOWN_ACCOUNT, "make alice@example.org known there"),
        ("temporary", Reason.BACKEND_UNAVAILABLE, "its own log says why"),
        ("protocol", Reason.BACKEND_UNAVAILABLE, "backends.mail.protocol"),
        ("of a newer version", Reason.BACKEND_UNAVAILABLE, "backends.mail.protocol"),
    ],
)
def test_a_backends_fault_is_an_error_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, why: Reason, cure: str
):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, secret = disk.mint()
        for n in range(3):
            await answered(scene, peer, ask(secret, f"s{n}", question=n))
            scene.says(peer, m.Ended(f"s{n}", "backend login failed", 0, 0, fault=fault, detail="127.0.0.1:143: no"))
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            (row_,) = history.last(c, disk.alice.id)
        assert (row_.reason, row_.count, row_.app_password_id) == (why, 3, phone.id)

    play(tmp_path, script)
    lines = capsys.readouterr().err.splitlines()
    assert sum('event="login failed"' in line for line in lines) == 3
    (error,) = [line for line in lines if "level=error" in line]
    assert "backend=mail" in error
    assert "127.0.0.1:143" in error
    assert cure in error


def test_a_probe_is_told_once_per_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        for worker in scene.peers:
            scene.says(worker, m.BackendNews("mail", "127.0.0.1:143", False, "refused"))
        for worker in scene.peers:
            scene.says(worker, m.BackendNews("mail", "127.0.0.1:143", True, ""))

    play(tmp_path, script, peers=2)
    lines = capsys.readouterr().err.splitlines()
    assert [("does not answer" in line, "backend answers" in line) for line in lines] == [(True, False), (False, True)]


# ---- workers in the hands of strangers -------------------------------------------------------


def test_what_a_worker_claims_is_written_down_only_if_we_know_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        odd = row("alice", count=2)
        odd.reason = "\x1b[2Jcanary"
        gopher = row("alice", count=3)
        gopher.protocol = "canary"
        nowhere = row("alice", count=4)
        nowhere.address = "canary"
        network = row("alice", count=5)
        network.network, network.program = "canary", "\x1b[2J" + "tb" * 100
        scene.says(peer, m.Refusals([odd, gopher, nowhere, network], 0))
        await counted(scene)
        assert isinstance(await answered(scene, peer, ask(secret, address="canary")), m.Refuse)
        question = ask(secret, "s2", question=2)
        question.program = "\x1b[2Jtb\n"
        await answered(scene, peer, question)
        session = scene.table.get("s2")
        assert session is not None
        assert session.program == "[2Jtb"
        scene.says(peer, m.Started("s2", "127.0.0.1:143", "<b>\x00"))
        assert session.program == "b"
        scene.says(peer, m.Program("s2", "x" * 500))
        assert session.program == "x" * 128
        scene.says(peer, m.BackendNews("canary", "127.0.0.1:143", False, "canary"))
        scene.reports.sum_up()
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            told = [(r.event.event, r.event.network, r.event.reason, r.event.detail) for r in audit.read(c)]
            (why,) = history.last(c, disk.alice.id)
        assert sorted(told, key=str) == [
            ("login_accepted", "203.0.113.9/32", None, "[2Jtb"),
            ("logins_refused", "*", "not_app_password", "count=9"),
            ("logins_refused", "203.0.113.9/32", "not_app_password", "count=5"),
        ]
        assert (why.network, why.program, why.count) == ("203.0.113.9/32", ("[2J" + "tb" * 100)[:128], 5)

    play(tmp_path, script)
    said = "".join(line for line in capsys.readouterr().err.splitlines() if "rip=canary" not in line)
    assert "canary" not in said
    assert "\x1b" not in said


def test_a_worker_that_reports_faster_than_names_are_found_is_only_counted(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        for _ in range(100):
            scene.says(peer, m.Refusals([row("alice", count=2)], 1))
        assert len(scene.conversation._waiting[peer.number]) <= conversation.MAX_REPORTS
        await counted(scene)
        scene.reports.sum_up()
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            told = {record.event.network: record.event.detail for record in audit.read(c)}
        assert told == {"203.0.113.9/32": "count=20", "*": "count=280"}

    play(tmp_path, script)


# ---- workers that come and go ----------------------------------------------------------------


def live(session_id: str, account_id: int, app_password_id: int, generation: int = 1) -> m.LiveSession:
    return m.LiveSession(
        session_id, account_id, app_password_id, generation, "imap", "mail", "203.0.113.9", 5, "::1", 993, "TLSv1.3",
        "tb", ISSUED - 60, 1, 2,
    )  # fmt: skip


def hello(scene: Scene, peer: FakePeer, sessions: list[m.LiveSession]) -> None:
    scene.greets(peer, sessions)


async def welcomed(peer: FakePeer) -> m.Welcome:
    async with asyncio.timeout(10):
        while not peer.sent:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0.001)
    first = peer.sent[0]
    assert isinstance(first, m.Welcome)
    return first


def test_a_new_worker_is_welcomed_with_secret_free_settings(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        hello(scene, peer, [])
        welcome = await welcomed(peer)
        assert (welcome.hostname, welcome.portal_url, welcome.cut) == (
            "mx.example.org",
            "https://login.example.org",
            [],
        )
        assert [front.name for front in welcome.fronts] == ["imap:993", "smtp:465"]
        assert welcome.tls == [m.TlsFiles("/cert.pem", "/key.pem", [])]
        assert welcome.backends[0] == m.BackendSetting("mail", "imap", ["127.0.0.1:143"], "none", None, None, "none")

    play(tmp_path, script)


def test_sessions_that_outlived_a_core_stay_unless_something_changed(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        good, _ = disk.mint("good")
        gone, _ = disk.mint("gone")
        end_it(disk, gone, EndReason.REVOKED)
        bob = disk.account("bob@example.org", enabled=False)
        bobs, _ = disk.mint("bobs", bob)
        hello(
            scene,
            peer,
            [
                live("kept", disk.alice.id, good.id),
                live("twice", disk.alice.id, good.id),
                live("twice", disk.alice.id, good.id),
                live("revoked", disk.alice.id, gone.id),
                live("narrowed", disk.alice.id, good.id, generation=0),
                live("disabled", bob.id, bobs.id),
                live("nobody", 4711, 4711),
                live("stranger", bob.id, good.id),
                replace_protocol(live("gopher", disk.alice.id, good.id)),
            ],
        )
        welcome = await welcomed(peer)
        assert sorted(welcome.cut) == ["disabled", "gopher", "narrowed", "nobody", "revoked", "stranger", "twice"]
        kept = scene.table.get("kept")
        assert kept is not None
        assert (kept.account, kept.app_password, kept.live, kept.worker) == ("alice@example.org", "good", True, 1)

    play(tmp_path, script)


def replace_protocol(session: m.LiveSession) -> m.LiveSession:
    session.protocol = "gopher"
    return session


def test_a_cut_while_a_worker_comes_back_waits_behind_its_welcome(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, _ = disk.mint()
        hello(scene, peer, [live("s1", disk.alice.id, phone.id)])
        peer.on_send = lambda message: (
            scene.cutter.confirmed(peer, m.CutDone(message.cut, 1)) if isinstance(message, m.Cut) else None  # type: ignore[arg-type]
        )
        assert await scene.cutter.cut(app_passwords=[phone.id]) == 1
        assert [type(message) for message in peer.sent[:2]] == [m.Welcome, m.Cut]

    play(tmp_path, script)


def test_sessions_are_not_cut_because_the_store_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        monkeypatch.setattr("proxy.core.takeover.AGAIN", 0.01)
        gone, _ = disk.mint("gone")
        end_it(disk, gone, EndReason.REVOKED)
        real, away = scene.conversation._store, 2

        class Flaky:
            async def read(self, fn: Any, *args: Any) -> Any:
                nonlocal away
                away -= 1
                if away >= 0:
                    raise StoreUnavailable("store /x: the disk is full")
                return await real.read(fn, *args)

        scene.conversation._store = Flaky()  # type: ignore[assignment]
        hello(scene, peer, [live("s1", disk.alice.id, gone.id)])
        assert (await welcomed(peer)).cut == []
        async with asyncio.timeout(10):
            while not any(isinstance(message, m.Cut) for message in peer.sent):  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.001)
        assert peer.sent[-1] == m.Cut(1, [], [], ["s1"])

    play(tmp_path, script)


def test_a_worker_that_dies_takes_its_sessions_along(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        other = scene.peers[1]
        await answered(scene, peer, ask(secret, "s1"))
        await answered(scene, other, ask(secret, "s2"))
        scene.conversation.gone(peer)  # type: ignore[arg-type]
        assert [session.id for session in scene.table] == ["s2"]

    play(tmp_path, script, peers=2)


def test_the_same_worker_again_replaces_its_old_link(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        again = FakePeer(9, pid=peer.pid)
        scene.link.peers.append(again)
        hello(scene, again, [])
        assert peer.closed
        assert not again.closed

    play(tmp_path, script)


def test_a_census_counts_only_a_workers_own(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, secret = disk.mint()
        other = scene.peers[1]
        await answered(scene, peer, ask(secret, "s1"))
        await answered(scene, other, ask(secret, "s2"))
        mine, its = live("s1", 1, phone.id), live("s2", 1, phone.id)

        def report(worker: FakePeer, sessions: list[m.LiveSession]) -> Callable[[m.Message], None]:
            return lambda message: (
                scene.says(worker, m.Census(message.census, sessions)) if isinstance(message, m.TakeCensus) else None
            )

        peer.on_send = report(peer, [mine, its])
        other.on_send = report(other, [its])
        found = await scene.conversation.census.take()
        assert [(one.session_id, one.bytes_in, one.bytes_out) for one in found] == [("s1", 1, 2), ("s2", 1, 2)]
        assert {one.started for one in found} == {ISSUED}  # of all else we know better ourselves

    play(tmp_path, script, peers=2)


def test_a_slow_workers_sessions_are_listed_without_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        monkeypatch.setattr("proxy.core.census.WITHIN", 0.02)
        _, secret = disk.mint()
        await answered(scene, peer, ask(secret, "s1"))
        assert await scene.conversation.census.take() == []
        scene.says(peer, m.Started("s1", "b", None))
        (listed,) = await scene.conversation.census.take()
        assert (listed.session_id, listed.bytes_in, listed.bytes_out) == ("s1", 0, 0)

    play(tmp_path, script)


def test_sessions_that_ended_between_hello_and_welcome_are_not_kept_for_ever(tmp_path: Path):
    """Their worker could tell nobody. As ghosts they would count against the sessions a person may have."""

    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        phone, secret = disk.mint()

        def report(message: m.Message) -> None:
            if isinstance(message, m.TakeCensus):
                scene.says(peer, m.Census(message.census, [live("kept", disk.alice.id, phone.id)]))

        peer.on_send = report
        hello(scene, peer, [live(i, disk.alice.id, phone.id) for i in ("kept", "ghost")])
        await welcomed(peer)
        assert [session.id for session in scene.table] == ["kept"]
        assert isinstance(await answered(scene, peer, ask(secret, "new")), m.Accept)
        scene.says(peer, m.Census(1, []))  # answered already: says nothing about what came since
        assert {session.id for session in scene.table} == {"kept", "new"}

    play(tmp_path, script)


def test_a_session_accepted_after_a_census_was_asked_for_is_no_ghost(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        census = asyncio.get_running_loop().create_task(scene.conversation.census.take())
        await asyncio.sleep(0)
        await answered(scene, peer, ask(secret, "new"))
        scene.says(peer, m.Census(1, []))
        assert await census == []
        assert [session.id for session in scene.table] == ["new"]

    play(tmp_path, script)


def test_no_worker_no_census(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        peer.close("gone")
        assert await scene.conversation.census.take() == []

    play(tmp_path, script)


def test_a_shared_mailboxes_app_password_is_for_the_mailbox(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        info = disk.account("info@example.org", kind=AccountKind.SHARED)
        _, secret = disk.mint(account=info, owner_id=disk.alice.id)
        assert await reason(scene, peer, ask(secret, name="info")) == "accepted"
        assert await reason(scene, peer, ask(secret, "s2", name="alice", question=2)) == Reason.UNKNOWN_APP_PASSWORD

    play(tmp_path, script)


def test_reading_goes_out_with_its_limits(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        login = ServiceIdentityLogin("cn=sidegate,dc=org", Secret("service"), "dn:uid=alice", ("ou=p,dc=org",), ("cn",))
        scene.decider.strategies = dict.fromkeys(scene.config.backends, lambda account: login)
        _, secret = disk.mint()
        answer = await answered(scene, peer, ask(secret))
        assert isinstance(answer, m.Accept)
        assert answer.login == m.LoginSetting(
            "service_identity", "dn:uid=alice", "cn=sidegate,dc=org", "service", ["ou=p,dc=org"], ["cn"]
        )

    play(tmp_path, script)


def test_a_backend_that_is_asked_later_is_no_second_login(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        _, secret = disk.mint()
        await answered(scene, peer, ask(secret))
        scene.says(peer, m.Started("s1", "", None))
        scene.says(peer, m.Started("s1", "127.0.0.1:389", None))
        assert scene.table.get("s1").backend_address == "127.0.0.1:389"  # type: ignore[union-attr]
        scene.says(peer, m.Ended("s1", "backend login failed", 0, 0, fault=Fault.CONNECT, detail="away"))
        said = capfd.readouterr().err
        assert said.count('event="login accepted"') == 1
        assert "reason=backend_unavailable" in said

    play(tmp_path, script)


SERVICE = "cn=chat,dc=example,dc=org"


def bound(address: str = "203.0.113.9", session_id: str = "s1") -> m.Ask:
    question = ask("", session_id, name=SERVICE, front="ldap:636", address=address)
    question.service = True
    return question


def with_directory(scene: Scene) -> None:
    directory = replace(scene.config.backends["mail"], name="directory", protocol=Protocol.LDAP)
    front = replace(scene.config.fronts[0], name="ldap:636", protocol=Protocol.LDAP, backend="directory")
    scene.conversation.config = replace(
        scene.config, fronts=(*scene.config.fronts, front), backends={**scene.config.backends, "directory": directory}
    )
    services = {"directory": {SERVICE: NetworkSet(["203.0.113.0/24"])}}
    scene.decider.rules = replace(scene.decider.rules, services=services)


def test_a_service_passes_through_without_app_password_and_store(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        with_directory(scene)
        scene.says(peer, bound())
        assert peer.take() == [m.Accept(1, "s1", 0, 0, 0, m.LoginSetting("service", "", SERVICE, ""))]
        session = scene.table.get("s1")
        assert session is not None
        assert (session.account, session.app_password, session.live) == (SERVICE, None, False)
        scene.says(peer, m.Started("s1", "127.0.0.1:389", None))
        scene.says(peer, m.Program("s1", "tool"))
        scene.says(peer, m.Ended("s1", "cut", 1, 2, messages=3))
        await scene.behind.write_verdicts()
        await scene.behind.write_uses()
        with disk.store.reading() as c:
            (record,) = [one.event for one in audit.read(c) if one.event.event == Event.SERVICE_PASSED]
        assert (record.account, record.app_password, record.network) == (SERVICE, None, "203.0.113.9/32")

    play(tmp_path, script)


def test_a_service_from_elsewhere_and_a_refused_one_leave_no_session(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        with_directory(scene)
        scene.says(peer, bound("198.51.100.1"))
        assert peer.take() == [m.Refuse(1, Reason.SERVICE_NETWORK)]
        scene.says(peer, bound(session_id="s2"))
        scene.says(peer, m.Ended("s2", "backend login failed", 0, 0, fault=Fault.SERVICE, detail="refused: 49"))
        assert len(scene.table) == 0
        await scene.behind.write_verdicts()
        with disk.store.reading() as c:
            assert [one.event for one in audit.read(c) if one.event.event == Event.SERVICE_PASSED] == []

    play(tmp_path, script)


def test_services_are_not_compared_with_the_store_but_bind_anew_at_another_core(tmp_path: Path):
    async def script(scene: Scene, disk: Disk, peer: FakePeer) -> None:
        with_directory(scene)
        scene.says(peer, bound())
        assert await takeover.stale(scene.conversation._store, list(scene.table)) == []
        live = m.LiveSession(
            "s9", 0, 0, 0, "ldap", "directory", "203.0.113.9", 5, "::1", 636, None, None, 1.0, 0, 0
        )  # fmt: skip
        assert takeover.register(scene.table, peer, [live]) == ([], ["s9"])  # type: ignore[arg-type]

    play(tmp_path, script)
