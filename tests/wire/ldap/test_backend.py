"""Dialogues of the LDAP backend machine with a directory."""

import pytest

from proxy.domain.backend_login import PlainLogin, ProxiedLogin, ServiceIdentityLogin, ServiceLogin
from proxy.domain.model import ClientInfo
from proxy.domain.secret import Secret
from proxy.wire.events import BackendReady, BackendRefused, Fault, StartTls
from proxy.wire.ldap import backend
from tests.support.transcript import WHOLE, run_backend
from tests.wire.ldap import requests as ldap

SERVICE = "cn=sidegate,dc=example,dc=org"
AUTHZID = f"dn:{ldap.ALICE}"
LOGIN = ProxiedLogin(SERVICE, Secret("service secret"), AUTHZID)

BIND = ldap.bind(1, SERVICE, "service secret")
BOUND = ldap.BIND_DONE
WHO = ldap.extended(2, ldap.WHO_AM_I, None, ldap.control(ldap.PROXIED, True, AUTHZID.encode()))
SOMEBODY = ldap.answer(2, 0x78, 0, "", ldap.text(AUTHZID, 0x8B))
NOTICE = ldap.answer(0, 0x78, 52, "bye", ldap.text(b"1.3.6.1.4.1.1466.20036", 0x8A))


def maker(*, starttls: bool = False):
    client = ClientInfo("192.0.2.1", 40000, "192.0.2.2", 636, "TLSv1.3")
    return lambda: backend.login_machine(LOGIN, client, "id", starttls=starttls, client_address="none")


def says(dialogue: str, *, tls: bool = True, starttls: bool = False, only: str | None = None) -> None:
    start = f"> connect {'tls' if tls else 'clear'}\n"
    run_backend(maker(starttls=starttls), start + dialogue, only=only)


BOUND_AS_SERVICE = f"""
    C= {BIND!r}
    S= {BOUND!r}
    C= {WHO!r}
"""


def test_bind_then_who_am_i_as_the_account():
    says(f"{BOUND_AS_SERVICE}\nS= {SOMEBODY!r}\n+ ready \n#")


def test_the_identity_is_the_one_that_was_asked_for():
    machine = maker()()
    machine.connected(tls=True)
    machine.receive_data(BOUND)
    other = ldap.answer(2, 0x78, 0, "", ldap.text("dn:cn=Alice", 0x8B))
    assert machine.receive_data(other) == [BackendReady(b"", login=LOGIN)]


def test_start_tls_first():
    says(
        f"""
        C= {ldap.START_TLS_REQUEST!r}
        S= {ldap.START_TLS_DONE!r}
        + starttls
        > tls
        C= {ldap.bind(2, SERVICE, "service secret")!r}
        S= {ldap.answer(2, 0x61, 0)!r}
        C= {ldap.extended(3, ldap.WHO_AM_I, None, ldap.control(ldap.PROXIED, True, AUTHZID.encode()))!r}
        S= {ldap.answer(3, 0x78, 0, "", ldap.text(AUTHZID, 0x8B))!r}
        + ready \n        #
        """,
        tls=False,
        starttls=True,
    )


def refused(code: int) -> bytes:
    return ldap.answer(1, 0x61, code, "no")


@pytest.mark.parametrize(
    ("code", "fault"), [(49, "credential"), (13, "credential"), (8, "credential"), (51, "temporary"), (52, "temporary")]
)
def test_the_service_bind_is_refused(code, fault):
    says(f"C= {BIND!r}\nS= {refused(code)!r}\n+ failed {fault}")


@pytest.mark.parametrize(
    ("code", "fault"),
    [(123, "unknown_account"), (51, "temporary"), (52, "temporary"), (2, "credential"), (12, "credential")],
)
def test_who_am_i_is_refused(code, fault):
    says(f"{BOUND_AS_SERVICE}\nS= {ldap.answer(2, 0x78, code, 'no')!r}\n+ failed {fault}")


@pytest.mark.parametrize("tail", [b"", ldap.tlv(0x8B), ldap.text(b"1.2.3", 0x8A)])
def test_nobody_is_no_login(tail):
    says(f"{BOUND_AS_SERVICE}\nS= {ldap.answer(2, 0x78, 0, '', tail)!r}\n+ failed credential")


@pytest.mark.parametrize(("code", "fault"), [(2, "protocol"), (1, "protocol"), (52, "temporary")])
def test_start_tls_is_refused(code, fault):
    says(
        f"C= {ldap.START_TLS_REQUEST!r}\nS= {ldap.answer(1, 0x78, code)!r}\n+ failed {fault}", tls=False, starttls=True
    )


@pytest.mark.parametrize("behind", [b"\x30", BOUND, NOTICE])
def test_bytes_behind_start_tls(behind):
    says(
        f"C= {ldap.START_TLS_REQUEST!r}\nS= {ldap.START_TLS_DONE + behind!r}\n+ failed protocol",
        tls=False,
        starttls=True,
        only=WHOLE,
    )


def test_start_tls_comes_alone():
    machine = maker(starttls=True)()
    machine.connected(tls=False)
    assert machine.receive_data(ldap.START_TLS_DONE) == [StartTls()]


def test_it_disconnects():
    says(f"C= {BIND!r}\nS= {NOTICE!r}\n+ failed temporary")
    says(f"{BOUND_AS_SERVICE}\nS= {NOTICE!r}\n+ failed temporary")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"220 mx ESMTP\r\n",
        ldap.answer(9, 0x61, 0),
        ldap.answer(1, 0x65, 0),
        ldap.message(1, ldap.tlv(0x61)),
        ldap.entry(1),
        bytes.fromhex("3084ffffffff"),
        bytes.fromhex("3080"),
    ],
)
def test_rubbish(rubbish):
    machine = maker()()
    machine.connected(tls=True)
    (event,) = machine.receive_data(rubbish + BOUND)
    assert isinstance(event, BackendRefused)
    assert event.fault is Fault.PROTOCOL
    assert machine.receive_data(BOUND) == []


def test_details_name_no_secret():
    for code in (49, 123):
        machine = maker()()
        machine.connected(tls=True)
        (event,) = machine.receive_data(refused(code))
        assert "service secret" not in event.detail
        assert SERVICE in event.detail


def test_reading_needs_no_more_than_the_services_bind():
    login = ServiceIdentityLogin(SERVICE, Secret("service secret"), AUTHZID, ("ou=people",), ("cn",))
    client = ClientInfo("192.0.2.1", 40000, "192.0.2.2", 636, "TLSv1.3")
    machine = backend.login_machine(login, client, "id", starttls=False, client_address="none")
    (sent,) = machine.connected(tls=True)
    assert sent.data == BIND
    assert machine.receive_data(BOUND) == [BackendReady(b"", login=login)]
    machine = backend.login_machine(login, client, "id", starttls=False, client_address="none")
    machine.connected(tls=True)
    (refused,) = machine.receive_data(ldap.answer(1, 0x61, 49))
    assert (refused.fault, refused.pass_on) == (Fault.CREDENTIAL, None)


CHAT = "cn=chat,ou=services,dc=example,dc=org"


def passing(password: str = "p\udce9ss"):
    client = ClientInfo("192.0.2.1", 40000, "192.0.2.2", 636, "TLSv1.3")
    login = ServiceLogin(CHAT, Secret(password))
    return backend.login_machine(login, client, "id", starttls=False, client_address="none")


def test_a_service_binds_with_what_it_sent():
    machine = passing()
    (sent,) = machine.connected(tls=True)
    assert sent.data == ldap.bind(1, CHAT, b"p\xe9ss")
    assert machine.receive_data(BOUND + b"\x30") == [BackendReady(b"", login=ServiceLogin(CHAT, Secret("p\udce9ss")))]
    assert machine.trailing_data() == b"\x30"


@pytest.mark.parametrize("code", [32, 49, 53])
def test_a_services_refusal_is_passed_on_as_it_is(code):
    machine = passing()
    machine.connected(tls=True)
    theirs = ldap.tlv(0x61, ldap.number(code, 10), ldap.text("dc=org"), ldap.text("data 52e"), ldap.text("x", 0x87))
    (refused,) = machine.receive_data(ldap.message(1, theirs))
    assert (refused.fault, refused.pass_on) == (Fault.SERVICE, theirs)
    assert "data" not in refused.detail


@pytest.mark.parametrize(("code", "fault"), [(51, "temporary"), (52, "temporary"), (10, "protocol"), (14, "protocol")])
def test_what_a_service_does_not_hear(code, fault):
    machine = passing()
    machine.connected(tls=True)
    (refused,) = machine.receive_data(ldap.answer(1, 0x61, code, "ldap://elsewhere"))
    assert (refused.fault, refused.pass_on) == (fault, None)


def test_other_logins_are_no_ldap():
    with pytest.raises(TypeError):
        backend.login_machine(
            PlainLogin("", "a", Secret("b")),
            ClientInfo("192.0.2.1", 1, "192.0.2.2", 636, "TLSv1.3"),
            "id",
            starttls=False,
            client_address="none",
        )


def probe_request(number: int) -> bytes:
    limits = ldap.number(0, 10) + ldap.number(0, 10) + ldap.number(1) + ldap.number(5) + ldap.tlv(1, b"\0")
    wanted = ldap.present("objectClass") + ldap.tlv(0x30, ldap.text("supportedLDAPVersion"))
    return ldap.message(number, ldap.tlv(0x63, ldap.text(""), limits, wanted))


@pytest.mark.parametrize("code", [0, 50, 1])
def test_probe(code):
    run_backend(
        lambda: backend.probe_machine(starttls=False),
        f"""
        > connect tls
        C= {probe_request(1)!r}
        S= {ldap.entry(1) + ldap.answer(1, 0x65, code)!r}
        + offers \n
        + close
        """,
    )


def test_probe_behind_start_tls():
    run_backend(
        lambda: backend.probe_machine(starttls=True),
        f"""
        > connect clear
        C= {ldap.START_TLS_REQUEST!r}
        S= {ldap.START_TLS_DONE!r}
        + starttls
        > tls
        C= {probe_request(2)!r}
        S= {ldap.answer(2, 0x65, 0)!r}
        + offers \n
        + close
        """,
    )
