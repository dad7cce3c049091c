from dataclasses import replace

import pytest

from proxy.domain.backend_login import PlainLogin
from proxy.domain.gatekeeper import LiveSessions, Rules, decide, name_to_look_up, pass_through
from proxy.domain.model import (
    Account,
    AccountKind,
    AppPassword,
    AppPasswordRecord,
    BearerToken,
    ClientInfo,
    EndReason,
    LoginAttempt,
    MfaState,
    Protocol,
    ServiceBind,
)
from proxy.domain.networks import NetworkSet
from proxy.domain.secret import Secret
from proxy.domain.verdicts import SHOWN, Accepted, PassThrough, Reason, Refused, Shown

RULES = Rules("example.org", frozenset({"example.org"}), sessions_per_app_password=50, sessions_per_account=200)
NOW = 1_000_000.0
ACCOUNT = Account(
    id=7,
    address="alice@example.org",
    kind=AccountKind.PERSON,
    enabled=True,
    backend_name=None,
    display_name=None,
    mfa=MfaState.DISABLED,
    admin=False,
    owner_id=None,
    created=0.0,
    login_names=("alice@example.org",),
)
RECORD = AppPasswordRecord(
    id=3,
    account_id=7,
    owner_id=7,
    name="Phone",
    scopes=frozenset({Protocol.IMAP}),
    networks=(),
    created=0.0,
    expires=None,
    ended=None,
    end_reason=None,
    generation=5,
    pepper_version=1,
    tag=1,
    hash=Secret("x"),
)
ATTEMPT = LoginAttempt(
    session_id="s1",
    protocol=Protocol.IMAP,
    front="imap:993",
    backend="mail",
    login_name="alice",
    authzid="",
    credential=AppPassword(Secret("whatever")),
    mechanism="PLAIN",
    client=ClientInfo("192.0.2.1", 4000, "192.0.2.2", 993, "TLSv1.3"),
)
LOGIN = PlainLogin("alice", "master", Secret("m"))
FEW = LiveSessions(0, 0)


def verdict(
    attempt: LoginAttempt = ATTEMPT,
    account: Account | None = ACCOUNT,
    record: AppPasswordRecord | None = RECORD,
    live: LiveSessions = FEW,
    now: float = NOW,
) -> object:
    return decide(attempt, RULES, account=account, app_password=record, live=live, now=now, login=lambda _: LOGIN)


def test_a_right_app_password_is_accepted_with_everything_the_core_needs() -> None:
    assert verdict() == Accepted(7, "alice@example.org", 3, "Phone", 5, LOGIN)


@pytest.mark.parametrize("live", [LiveSessions(49, 199), LiveSessions(0, 0)])
def test_below_the_session_caps(live: LiveSessions) -> None:
    assert isinstance(verdict(live=live), Accepted)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"record": None}, Reason.UNKNOWN_APP_PASSWORD),
        ({"record": replace(RECORD, account_id=8)}, Reason.UNKNOWN_APP_PASSWORD),
        ({"record": replace(RECORD, ended=NOW - 1, end_reason=EndReason.REVOKED)}, Reason.REVOKED),
        ({"record": replace(RECORD, ended=NOW - 1, end_reason=EndReason.ACCOUNT_REMOVED)}, Reason.REVOKED),
        ({"record": replace(RECORD, ended=NOW - 1, end_reason=EndReason.EXPIRED)}, Reason.EXPIRED),
        ({"record": replace(RECORD, expires=NOW)}, Reason.EXPIRED),
        ({"record": replace(RECORD, scopes=frozenset({Protocol.SMTP}))}, Reason.WRONG_SCOPE),
        ({"record": replace(RECORD, scopes=frozenset())}, Reason.WRONG_SCOPE),
        ({"record": replace(RECORD, networks=("198.51.100.0/24",))}, Reason.WRONG_NETWORK),
        ({"account": replace(ACCOUNT, enabled=False)}, Reason.ACCOUNT_DISABLED),
        ({"account": replace(ACCOUNT, address="alice@elsewhere.example")}, Reason.FOREIGN_DOMAIN),
        ({"attempt": replace(ATTEMPT, authzid="bob")}, Reason.AUTHZID_MISMATCH),
        ({"attempt": replace(ATTEMPT, authzid="admin")}, Reason.AUTHZID_MISMATCH),
        ({"live": LiveSessions(50, 50)}, Reason.TOO_MANY_SESSIONS),
        ({"live": LiveSessions(0, 200)}, Reason.TOO_MANY_SESSIONS),
    ],
)
def test_what_speaks_against_a_login(changed: dict[str, object], reason: Reason) -> None:
    answer = verdict(**changed)  # type: ignore[arg-type]
    assert isinstance(answer, Refused)
    assert answer.reason is reason
    assert answer.account_id == 7


def test_an_unknown_account_is_named_by_nothing() -> None:
    assert verdict(account=None) == Refused(Reason.UNKNOWN_ACCOUNT)


def test_not_yet_expired_and_in_its_network() -> None:
    assert isinstance(verdict(record=replace(RECORD, expires=NOW + 1, networks=("192.0.2.0/24",))), Accepted)


@pytest.mark.parametrize("authzid", ["alice", "ALICE", "alice@example.org", "Alice@Example.org"])
def test_an_authzid_that_says_the_same_again(authzid: str) -> None:
    assert isinstance(verdict(replace(ATTEMPT, authzid=authzid)), Accepted)


def test_the_strategy_is_not_asked_for_a_refused_login() -> None:
    def never(_: Account) -> PlainLogin:
        raise AssertionError("asked")

    decide(ATTEMPT, RULES, account=ACCOUNT, app_password=None, live=FEW, now=NOW, login=never)


def test_names() -> None:
    assert name_to_look_up(ATTEMPT, RULES) == "alice@example.org"
    assert name_to_look_up(replace(ATTEMPT, login_name="a*b"), RULES) == Refused(Reason.BAD_LOGIN_NAME)
    token = replace(ATTEMPT, credential=BearerToken(Secret("t")))
    assert name_to_look_up(token, RULES) == Refused(Reason.BEARER_UNSUPPORTED)


def test_every_reason_is_shown_as_something_and_every_thing_shown_has_a_reason() -> None:
    assert set(SHOWN) == set(Reason)
    assert set(SHOWN.values()) == set(Shown)


def test_no_reply_tells_what_the_store_knows() -> None:
    of_the_store = {
        Reason.UNKNOWN_ACCOUNT,
        Reason.ACCOUNT_DISABLED,
        Reason.UNKNOWN_APP_PASSWORD,
        Reason.REVOKED,
        Reason.EXPIRED,
        Reason.WRONG_SCOPE,
        Reason.WRONG_NETWORK,
        Reason.FOREIGN_DOMAIN,
        Reason.AUTHZID_MISMATCH,
        Reason.BAD_LOGIN_NAME,
    }
    assert {SHOWN[reason] for reason in of_the_store} == {Shown.NOT_ACCEPTED}


SERVICE = "cn=chat,dc=example,dc=org"
WITH_SERVICE = replace(RULES, services={"directory": {SERVICE: NetworkSet(["198.51.100.0/24"])}})
BIND = replace(
    ATTEMPT,
    protocol=Protocol.LDAP,
    backend="directory",
    login_name=SERVICE,
    credential=ServiceBind(),
    client=replace(ATTEMPT.client, address="198.51.100.7"),
)


def test_a_listed_service_from_a_listed_network_passes():
    assert pass_through(BIND, WITH_SERVICE) == PassThrough(SERVICE)


@pytest.mark.parametrize(
    "attempt",
    [
        replace(BIND, client=replace(BIND.client, address="198.51.101.7")),
        replace(BIND, login_name=SERVICE.upper()),
        replace(BIND, login_name="cn=other,dc=org"),
        replace(BIND, backend="mail"),
        replace(BIND, protocol=Protocol.IMAP),
    ],
)
def test_nothing_else_passes(attempt):
    assert pass_through(attempt, WITH_SERVICE) == Refused(Reason.SERVICE_NETWORK)
    assert pass_through(BIND, RULES) == Refused(Reason.SERVICE_NETWORK)
