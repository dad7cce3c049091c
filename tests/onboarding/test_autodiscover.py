"""Outlook's Autodiscover: exact documents, and strangers' XML."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.config import Config
from proxy.onboarding.autodiscover import MAX_REQUEST, OUTLOOK, RESPONSES, answer, error
from tests.onboarding.site import site, without

NOW = 1_750_000_000.25  # 15:06:40.25 UTC
REQUEST = """\
<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
  <Request>
    <EMailAddress>ALICE@example.org</EMailAddress>
    <AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>
  </Request>
</Autodiscover>
"""
EXPECTED = f"""\
<?xml version='1.0' encoding='utf-8'?>
<Autodiscover xmlns="{RESPONSES}">
  <Response xmlns="{OUTLOOK}">
    <User>
      <DisplayName>alice@example.org</DisplayName>
    </User>
    <Account>
      <AccountType>email</AccountType>
      <Action>settings</Action>
      <Protocol>
        <Type>IMAP</Type>
        <Server>mail.example.org</Server>
        <Port>993</Port>
        <DomainRequired>off</DomainRequired>
        <LoginName>alice@example.org</LoginName>
        <SPA>off</SPA>
        <SSL>on</SSL>
        <Encryption>SSL</Encryption>
        <AuthRequired>on</AuthRequired>
      </Protocol>
      <Protocol>
        <Type>SMTP</Type>
        <Server>smtp.example.org</Server>
        <Port>465</Port>
        <DomainRequired>off</DomainRequired>
        <LoginName>alice@example.org</LoginName>
        <SPA>off</SPA>
        <SSL>on</SSL>
        <Encryption>SSL</Encryption>
        <AuthRequired>on</AuthRequired>
      </Protocol>
    </Account>
  </Response>
</Autodiscover>
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return site(tmp_path_factory.mktemp("site"))


def refusal(code: int, message: str) -> str:
    return (
        f"<?xml version='1.0' encoding='utf-8'?>\n"
        f'<Autodiscover xmlns="{RESPONSES}">\n'
        f"  <Response>\n"
        f'    <Error Time="15:06:40.2500000" Id="0">\n'
        f"      <ErrorCode>{code}</ErrorCode>\n"
        f"      <Message>{message}</Message>\n"
        f"      <DebugData />\n"
        f"    </Error>\n"
        f"  </Response>\n"
        f"</Autodiscover>\n"
    )


INVALID, NOT_AVAILABLE = refusal(600, "Invalid Request"), refusal(601, "Provider Not Available")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_the_whole_document(config: Config, encoding: str) -> None:
    request = REQUEST.replace("utf-8", encoding).encode(encoding)
    assert answer(config, request, NOW).decode() == EXPECTED


def test_starttls_where_there_is_nothing_better(tmp_path: Path) -> None:
    site_with = site(tmp_path, ('"[::]:993", tls: implicit', '"[::]:993", public: none, tls: implicit'))
    document = answer(site_with, REQUEST.encode(), NOW).decode()
    assert re.findall(r"<(?:Port|Encryption)>([^<]+)<", document) == ["143", "TLS", "465", "SSL"]


def test_every_address_of_a_domain_gets_the_same(config: Config) -> None:
    for address in ("bob@example.org", "nobody-at-all@example.org"):
        request = REQUEST.replace("ALICE@example.org", address)
        assert answer(config, request.encode(), NOW).decode() == EXPECTED.replace("alice@example.org", address)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ALICE@example.org", "alice@example.com", NOT_AVAILABLE),
        ("outlook/responseschema/2006a", "mobilesync/responseschema/2006", NOT_AVAILABLE),
        ("ALICE@example.org", "", INVALID),
        ("ALICE@example.org", "alice", INVALID),
        ("ALICE@example.org", "&lt;script>@example.org", INVALID),
        ("EMailAddress", "LegacyDN", INVALID),
        ("<Request>", "<Request><EMailAddress>bob@example.org</EMailAddress>", INVALID),
        ("outlook/requestschema/2006", "x&quot;", NOT_AVAILABLE),
        ("http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006", "urn:else", INVALID),
        ("</Request>", "", INVALID),
        ("</Autodiscover>", "</Autodiscover><x/>", INVALID),
        ("utf-8", "klingon", INVALID),
        ("<Request>", f"<Request>{'<x>' * 99}{'</x>' * 99}", INVALID),
        ("</Request>", f"</Request><!--{'x' * MAX_REQUEST}-->", INVALID),
    ],
)
def test_errors(config: Config, old: str, new: str, expected: str) -> None:
    assert old in REQUEST
    document = answer(config, REQUEST.replace(old, new).encode(), NOW).decode()
    assert document == (EXPECTED if new == "x&quot;" else expected)


def test_without_mail_nothing_is_available(tmp_path: Path) -> None:
    assert answer(site(tmp_path, *without("smtp")), REQUEST.encode(), NOW).decode() == NOT_AVAILABLE


def test_a_get_is_no_request() -> None:
    assert error(600, NOW).decode() == INVALID


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 20))


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE Autodiscover>",
        f'<!DOCTYPE Autodiscover [<!ENTITY a0 "ha">{LAUGHS}]>',
        '<!DOCTYPE Autodiscover [<!ENTITY a19 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE Autodiscover [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>',
        f'<!DOCTYPE Autodiscover [<!ENTITY a19 "{"a" * 5000}">]>',
    ],
)
def test_document_types_and_entities_are_refused_at_once(config: Config, doctype: str) -> None:
    request = REQUEST.replace("?>\n", f"?>\n{doctype}", 1).replace("ALICE", "&a19;")
    assert len(request) < MAX_REQUEST
    began = time.process_time()
    assert answer(config, request.encode(), NOW).decode() == INVALID
    assert time.process_time() - began < 0.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_comes_is_answered(config: Config, data: st.DataObject) -> None:
    raw = REQUEST.encode()
    at = data.draw(st.integers(0, len(raw)))
    piece = data.draw(st.binary(max_size=40) | st.sampled_from([b"<!DOCTYPE a>", b"&lt;", b"]]>", b"<a>", b"\0"]))
    document = answer(config, raw[:at] + piece + raw[data.draw(st.integers(at, len(raw))) :], NOW)
    assert document.startswith(b"<?xml")
