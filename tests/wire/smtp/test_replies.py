"""Every way to be refused has a row, word for word as decided."""

from proxy.domain.verdicts import Shown
from proxy.wire.smtp import replies

URL = "https://login.example.org"


def test_every_refusal_has_its_row():
    assert {shown: replies.refusal(shown, URL) for shown in Shown} == {
        Shown.NOT_APP_PASSWORD: b"534 5.7.9 Application-specific password required: https://login.example.org\r\n",
        Shown.NOT_ACCEPTED: b"535 5.7.8 App password not accepted: https://login.example.org\r\n",
        Shown.UNAVAILABLE: b"454 4.7.0 Temporary authentication failure\r\n",
        Shown.LIMITED: b"454 4.7.0 Too many attempts, try again later\r\n",
        Shown.TLS_FIRST: b"530 5.7.0 Must issue a STARTTLS command first\r\n",
    }
    assert set(replies.REFUSALS) == set(Shown)


def test_url_is_verbatim():
    assert replies.refusal(Shown.NOT_ACCEPTED, "https://x/{url}{0}%s") == (
        b"535 5.7.8 App password not accepted: https://x/{url}{0}%s\r\n"
    )


def test_farewell():
    assert replies.farewell("App password revoked") == b"421 4.7.0 App password revoked\r\n"
