"""The QR code's text, read as Thunderbird for Android reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.onboarding.servers import mail_servers
from proxy.onboarding.thunderbird_android import payload
from tests.onboarding.site import SECRET, handover, site

MANY = 800
"""Characters, from which the desktop program warns that a code is hard to scan."""


def text(folder: Path, *changes: tuple[str, str], **more: object) -> str:
    mail = mail_servers(site(folder, *changes))
    assert mail is not None
    return payload(handover(**more), mail)


def test_the_whole_text(tmp_path: Path) -> None:
    assert text(tmp_path) == (
        '[1,[1,1],[0,"mail.example.org",993,3,1,"alice@example.org","alice@example.org","abcd-efgh-jkmn-pqrs-tuvw"],'
        '[[[0,"smtp.example.org",465,3,1,"alice@example.org","abcd-efgh-jkmn-pqrs-tuvw"],'
        '["alice@example.org","Alice Álvarez"]]]]'
    )


def one_line(value: Any) -> bool:
    return isinstance(value, str) and not re.search(r"[\r\n]", value)


def accepted(code: str) -> bool:
    """QrCodePayloadParser and QrCodePayloadValidator: strings are read as strings, one wrong value spoils it all."""
    version, sequence, *rest = json.loads(code)
    if version != 1 or sequence != [1, 1] or len(rest) != 2:
        return False
    incoming, groups = rest
    servers = [(incoming, 8), *((group[0], 7) for group in groups)]
    identities = [identity for group in groups for identity in group[1:]]
    return (
        all(
            len(server) == size
            and server[0] == 0
            and re.fullmatch(r"[a-z0-9.-]+", server[1])
            and 1 <= server[2] <= 65535
            and server[3] in (2, 3)
            and server[4] == 1
            and all(map(one_line, server[5:]))
            for server, size in servers
        )
        and bool(identities)
        and all(re.fullmatch(r"[!-?A-~]+@[a-z0-9.-]+", address) and one_line(name) for address, name in identities)
    )


@pytest.mark.parametrize("name", ["", "Alice", 'Al"ice\r\nBcc: all \\', "愛" * 60])
def test_the_reader_accepts_it(tmp_path: Path, name: str) -> None:
    code = text(tmp_path, display_name=name)
    assert accepted(code)
    assert len(code) < MANY
    assert code.count(SECRET) == 2


def test_the_reader_of_this_test_refuses(tmp_path: Path) -> None:
    code = text(tmp_path)
    for old, new in (
        ('"Alice Álvarez"', "null"),
        ("993", "0"),
        ("[1,[", "[2,["),
        ("Alice ", "Alice\\n"),
        (",3,1", ",1,1"),
    ):
        assert old in code
        assert not accepted(code.replace(old, new))


def test_starttls(tmp_path: Path) -> None:
    code = text(tmp_path, ('"[::]:993", tls: implicit', '"[::]:993", public: none, tls: implicit'))
    assert '"mail.example.org",143,2,1,' in code
    assert accepted(code)
