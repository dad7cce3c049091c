"""Login strategies: exactly what is presented to a backend, and what never is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from proxy.backends import keys, strategy
from proxy.backends.names import CannotName
from proxy.config.settings import Address, Backend, BackendTls, ClientAddress, Login, Strategy
from proxy.domain.backend_login import BearerLogin, PlainLogin, ProxiedLogin, ServiceIdentityLogin, XclientLogin
from proxy.domain.model import Account, AccountKind, MfaState, Protocol
from proxy.domain.secret import Secret

NOW = 1_790_000_000.75

ALICE = Account(
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
)


def backend(login: Login, username: str = "{account}") -> Backend:
    return Backend(
        name="mail",
        protocol=Protocol.IMAP,
        addresses=(Address("127.0.0.1", 143),),
        tls=BackendTls.NONE,
        ca=None,
        server_name=None,
        username=username,
        login=login,
        client_address=ClientAddress.ID,
    )


@pytest.fixture(scope="module")
def the_keys(tmp_path_factory) -> keys.Keys:
    folder: Path = tmp_path_factory.mktemp("state")
    keys.create(folder)
    return keys.load(folder)


def present(the_keys, login: Login, account: Account = ALICE, username: str = "{account}"):
    return strategy.make(backend(login, username), the_keys, lambda: NOW)(account)


MASTER = Login(Strategy.MASTER_USER, user="master", password=Secret("pw"))


@pytest.mark.parametrize(
    ("login", "username", "expected"),
    [
        (MASTER, "{account}", PlainLogin("alice@example.org", "master", Secret("pw"))),
        (MASTER, "{local}", PlainLogin("alice", "master", Secret("pw"))),
        (replace(MASTER, separator="*"), "{local}", PlainLogin("", "alice*master", Secret("pw"))),
        (replace(MASTER, separator="!"), "{account}", PlainLogin("", "alice@example.org!master", Secret("pw"))),
        (
            Login(Strategy.STATIC, user="shared", password=Secret("s")),
            "{account}",
            PlainLogin("", "shared", Secret("s")),
        ),
        (Login(Strategy.XCLIENT), "{local}", XclientLogin("alice")),
        (Login(Strategy.XCLIENT), "{local}+{domain}", XclientLogin("alice+example.org")),
    ],
)
def test_what_is_presented(the_keys, login, username, expected):
    assert present(the_keys, login, username=username) == expected


def test_the_accounts_own_backend_name_wins(the_keys):
    account = replace(ALICE, backend_name="a.liddell")
    assert present(the_keys, MASTER, account).authzid == "a.liddell"


@pytest.mark.parametrize("name", ["alice*root", "a b", "a\x00b", "a\nb", "%u", "a\x85", "", "a" * 257])
@pytest.mark.parametrize("login", [MASTER, replace(MASTER, separator="*"), Login(Strategy.XCLIENT)])
def test_a_name_that_could_mean_another_user_is_not_sent(the_keys, login, name):
    with pytest.raises(CannotName, match=r"backend mail cannot call alice@example\.org"):
        present(the_keys, login, replace(ALICE, backend_name=name))


def test_a_separator_of_ones_own_is_refused_in_names(the_keys):
    login = replace(MASTER, separator="!")
    with pytest.raises(CannotName):
        present(the_keys, login, replace(ALICE, backend_name="alice!root"))


def test_a_template_is_filled_in_once(the_keys):
    account = replace(ALICE, address="{domain}@example.org")
    assert present(the_keys, Login(Strategy.XCLIENT), account, "{local}") == XclientLogin("{domain}")


SERVICE = Login(Strategy.PROXIED_AUTHORIZATION, bind_dn="cn=sidegate,dc=org", password=Secret("s"))


def directory(account_dn: str) -> Backend:
    return replace(backend(SERVICE, username="{local}"), protocol=Protocol.LDAP, account_dn=account_dn)


@pytest.mark.parametrize(
    ("account_dn", "account", "authzid"),
    [
        ("uid={local},ou=people,dc=example,dc=org", ALICE, "dn:uid=alice,ou=people,dc=example,dc=org"),
        ("cn={account},dc=org", ALICE, "dn:cn=alice@example.org,dc=org"),
        ("cn={account},dc=org", replace(ALICE, address="a+b@example.org"), r"dn:cn=a\+b@example.org,dc=org"),
        ("uid={local},dc=org", replace(ALICE, backend_name="a.liddell"), "dn:uid=alice,dc=org"),
    ],
)
def test_a_directory_is_told_the_dn_of_the_account(the_keys, account_dn, account, authzid):
    made = strategy.make(directory(account_dn), the_keys, lambda: NOW)(account)
    assert made == ProxiedLogin("cn=sidegate,dc=org", Secret("s"), authzid)


def test_an_address_without_a_dn_is_not_sent(the_keys):
    make = strategy.make(directory("uid={local},o={domain}"), the_keys, lambda: NOW)
    with pytest.raises(CannotName, match="backend mail has no DN for alice"):
        make(replace(ALICE, address="alice"))


def test_who_reads_is_only_told_who_they_are(the_keys):
    login = replace(SERVICE, strategy=Strategy.SERVICE_IDENTITY, bases=("dc=org",), attributes=("cn",))
    make = strategy.make(replace(directory("uid={local},o={domain}"), login=login), the_keys, lambda: NOW)
    made = make(ALICE)
    assert made == ServiceIdentityLogin(
        "cn=sidegate,dc=org", Secret("s"), "dn:uid=alice,o=example.org", ("dc=org",), ("cn",)
    )
    assert make(replace(ALICE, address="alice")) == replace(made, account="u:alice")
    make = strategy.make(replace(directory(""), login=login), the_keys, lambda: NOW)
    assert make(ALICE) == replace(made, account="u:alice@example.org")


TOKEN = Login(Strategy.DOVECOT_TOKEN, issuer="https://login.example.org", client_id="sidegate")


def claims_of(the_keys, login: Login):
    made = present(the_keys, login, username="{local}")
    assert isinstance(made, BearerLogin)
    assert made.user == "alice"
    public = ECKey.import_key(the_keys.signing.public_pem)
    return jwt.decode(made.token.reveal(), public, algorithms=["ES256"])


def test_a_token_is_for_one_account_and_thirty_seconds(the_keys):
    token = claims_of(the_keys, TOKEN)
    assert token.header == {"alg": "ES256", "typ": "JWT", "kid": "signing-1"}
    assert token.claims == {
        "iss": "https://login.example.org",
        "azp": "sidegate",
        "aud": "sidegate",
        "sub": "alice",
        "iat": 1_789_999_990,
        "exp": 1_790_000_030,
    }


def test_a_token_may_have_another_audience(the_keys):
    assert claims_of(the_keys, replace(TOKEN, audience="imap.example.org")).claims["aud"] == "imap.example.org"


def test_another_key_does_not_verify_it(the_keys, tmp_path):
    keys.create(tmp_path)
    other = keys.load(tmp_path)
    with pytest.raises(BadSignatureError):
        claims_of(replace_public(the_keys, other.signing.public_pem), TOKEN)


def replace_public(the_keys, public_pem: str):
    return replace(the_keys, signing=replace(the_keys.signing, public_pem=public_pem))


def test_a_token_does_not_show(the_keys):
    made = present(the_keys, TOKEN)
    assert made.token.reveal() not in repr(made)
