"""What front workers are told of the configuration."""

from __future__ import annotations

from dataclasses import replace

from proxy.config.settings import Address, Backend, BackendTls, ClientAddress, Front, FrontTls, Login, Strategy
from proxy.core import front_settings
from proxy.domain.model import Protocol
from proxy.domain.secret import Secret
from proxy.link import messages as m
from tests.core.scene import config

ACCOUNT_DN = "uid={local},o={domain},dc=org"
DIRECTORY = Backend(
    name="directory",
    protocol=Protocol.LDAP,
    addresses=(Address("10.0.0.6", 389),),
    tls=BackendTls.STARTTLS,
    ca=None,
    server_name=None,
    username="{account}",
    login=Login(Strategy.PROXIED_AUTHORIZATION, password=Secret("canary"), bind_dn="cn=sidegate,dc=org"),
    client_address=ClientAddress.NONE,
    account_dn=ACCOUNT_DN,
    bind_names=True,
)


def test_a_directory_comes_with_what_turns_a_dn_into_a_login_name_and_without_its_secret() -> None:
    changed = replace(
        config(),
        fronts=(Front("ldap:636", Protocol.LDAP, Address("::", 636), FrontTls.IMPLICIT, "directory"),),
        backends={"directory": DIRECTORY},
        domains=("example.org", "example.net"),
    )
    told = front_settings.welcome(changed, [])
    assert told.fronts == [m.FrontSetting("ldap:636", "ldap", "implicit", "directory", [])]
    assert told.backends == [
        m.BackendSetting(
            "directory",
            "ldap",
            ["10.0.0.6:389"],
            "starttls",
            None,
            None,
            "none",
            account_dn=ACCOUNT_DN,
            bind_names=True,
            domains=["example.org", "example.net"],
        )
    ]
    assert front_settings.reload(changed).backends == told.backends
    assert b"canary" not in m.encode(told)
