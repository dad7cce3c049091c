"""user-agent-configuration.json: its bytes are what the DNS vouches for."""

from __future__ import annotations

import json
from pathlib import Path

from proxy.onboarding.pacc import digest, document
from tests.onboarding.site import site, without

EXPECTED = (
    '{"authentication":{"password":true},"info":{"help":{"documentation":"https://login.example.org"},'
    '"provider":{"name":"Example & Co","shortName":"Example & Co"}},'
    '"protocols":{"imap":{"host":"mail.example.org"},"submit":{"host":"smtp.example.org"}}}'
)


def test_the_bytes_and_their_digest(tmp_path: Path) -> None:
    body = document(site(tmp_path))
    assert body is not None
    assert body.decode() == EXPECTED
    # printf '%s' "$body" | openssl dgst -sha256 -binary | base64
    assert digest(body) == "v=UAAC1; a=sha256; d=IU/0jFSUJIuJ+C07KLBcYicT3rDjto/5CJO+OV8abLg="


def test_only_what_has_its_own_port(tmp_path: Path) -> None:
    elsewhere = ('"smtp.example.org:465"', '"smtp.example.org:1465"')
    body = document(site(tmp_path, elsewhere))
    assert body is not None
    assert json.loads(body)["protocols"] == {"imap": {"host": "mail.example.org"}}
    assert document(site(tmp_path, *without("smtp"), *without("imap"))) is None


def test_the_first_of_several(tmp_path: Path) -> None:
    behind = ('"127.0.0.1:1993", tls: implicit', '"127.0.0.1:1993", tls: implicit, public: "imap.example.org:993"')
    assert document(site(tmp_path, behind)) == document(site(tmp_path))


def test_names_are_as_short_as_the_draft_wants_them(tmp_path: Path) -> None:
    body = document(site(tmp_path, ("Example & Co", "ñ" * 64)))
    assert body is not None
    assert json.loads(body)["info"]["provider"] == {"name": "ñ" * 60}
