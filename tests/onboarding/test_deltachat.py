"""`dclogin:`, read as Delta Chat's core reads it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from proxy.domain.secret import Secret
from proxy.onboarding.deltachat import url
from proxy.onboarding.servers import mail_servers
from tests.onboarding.site import handover, site


def test_the_whole_address(tmp_path: Path) -> None:
    mail = mail_servers(site(tmp_path))
    assert mail is not None
    assert url(handover(), mail) == (
        "dclogin:alice@example.org?p=abcd-efgh-jkmn-pqrs-tuvw&v=1"
        "&ih=mail.example.org&ip=993&is=ssl&sh=smtp.example.org&sp=465&ss=ssl"
    )


def test_what_would_end_a_value_is_escaped(tmp_path: Path) -> None:
    mail = mail_servers(site(tmp_path, ('"[::]:993", tls: implicit', '"[::]:993", public: none, tls: implicit')))
    assert mail is not None
    parts = urlsplit(url(handover(address="a+b?c@example.org", secret=Secret("a b&c=#+%")), mail))
    assert parts.path == "a%2Bb%3Fc@example.org"
    assert "+" not in parts.query  # it would be read as itself, not as a space
    query = parse_qs(parts.query, strict_parsing=True)
    assert (query["p"], query["is"], query["ip"]) == (["a b&c=#+%"], ["starttls"], ["143"])
