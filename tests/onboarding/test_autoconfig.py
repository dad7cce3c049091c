"""config-v1.1.xml: exact, and by the rules of the programs that read it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from proxy.onboarding.autoconfig import config_v1_1
from tests.onboarding.site import site, without

EXPECTED = """\
<?xml version='1.0' encoding='UTF-8'?>
<clientConfig version="1.2">
  <emailProvider id="example.net">
    <domain>example.net</domain>
    <displayName>Example &amp; Co</displayName>
    <displayShortName>example.net</displayShortName>
    <incomingServer type="imap">
      <hostname>mail.example.org</hostname>
      <port>993</port>
      <socketType>SSL</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </incomingServer>
    <incomingServer type="imap">
      <hostname>mail.example.org</hostname>
      <port>143</port>
      <socketType>STARTTLS</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </incomingServer>
    <outgoingServer type="smtp">
      <hostname>smtp.example.org</hostname>
      <port>465</port>
      <socketType>SSL</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </outgoingServer>
    <documentation url="https://login.example.org">
      <descr lang="en">App passwords for mail programs</descr>
      <descr lang="es">Contraseñas de aplicación para programas de correo</descr>
    </documentation>
  </emailProvider>
</clientConfig>
"""


def test_the_whole_document(tmp_path: Path) -> None:
    document = config_v1_1(site(tmp_path), "example.net")
    assert document is not None
    assert document.decode("utf-8") == EXPECTED


def test_what_thunderbird_demands_of_it(tmp_path: Path) -> None:
    """The checks of readFromXML.sys.mjs: a domain, and a usable server each way."""
    document = config_v1_1(site(tmp_path), "example.org")
    assert document is not None
    root = ET.fromstring(document)
    assert root.tag == "clientConfig"
    provider = root.find("emailProvider")
    assert provider is not None
    assert provider.get("id") == provider.findtext("domain") == "example.org"
    incoming, outgoing = provider.findall("incomingServer"), provider.findall("outgoingServer")
    assert [server.get("type") for server in incoming] == ["imap", "imap"]
    assert [server.get("type") for server in outgoing] == ["smtp"]
    for server in incoming + outgoing:
        assert server.findtext("hostname")
        assert 0 < int(server.findtext("port") or "") < 65536
        assert server.findtext("socketType") in ("SSL", "STARTTLS")  # it has "plain", its Android sibling refuses it
        assert {one.text for one in server.findall("authentication")} == {"password-cleartext"}
        assert server.findtext("username") == "%EMAILADDRESS%"


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_half_a_mail_account_is_none(tmp_path: Path, protocol: str) -> None:
    assert config_v1_1(site(tmp_path, *without(protocol)), "example.org") is None
