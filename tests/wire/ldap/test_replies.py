"""Every way to be refused has a row, word for word as decided."""

from proxy.domain.verdicts import Shown
from proxy.wire.ldap import grammar, replies
from tests.wire.ldap import requests as ldap

URL = "https://login.example.org"


def test_every_refusal_has_its_row():
    assert {shown: replies.refusal(shown, URL) for shown in Shown} == {
        Shown.NOT_APP_PASSWORD: (49, "Application-specific password required: https://login.example.org"),
        Shown.NOT_ACCEPTED: (49, "App password not accepted: https://login.example.org"),
        Shown.UNAVAILABLE: (52, "Temporary authentication failure"),
        Shown.LIMITED: (51, "Too many attempts, try again later"),
        Shown.TLS_FIRST: (13, "Use StartTLS first"),
    }
    assert set(replies.REFUSALS) == set(Shown)


def test_url_is_verbatim():
    assert replies.refusal(Shown.NOT_ACCEPTED, "https://x/{url}{0}%s")[1] == (
        "App password not accepted: https://x/{url}{0}%s"
    )


def test_each_request_gets_the_response_of_its_kind():
    for request, response in {
        0x60: 0x61,
        0x63: 0x65,
        0x66: 0x67,
        0x68: 0x69,
        0x4A: 0x6B,
        0x6C: 0x6D,
        0x6E: 0x6F,
    }.items():
        assert replies.to_request(7, request, (50, "no")) == ldap.answer(7, response, 50, "no")
    assert replies.to_request(7, 0x77, (2, "no")) == ldap.answer(7, 0x78, 2, "no")
    assert set(grammar.ANSWERS) == {0x60, 0x63, 0x66, 0x68, 0x4A, 0x6C, 0x6E, 0x77}


def test_a_notice_of_disconnection():
    assert replies.MALFORMED == ldap.MALFORMED
    name = ldap.text(b"1.3.6.1.4.1.1466.20036", 0x8A)
    assert replies.farewell("Server is shutting down") == ldap.answer(0, 0x78, 52, "Server is shutting down", name)
