from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy.admin import accounts, app_passwords, backend_names
from proxy.admin.accounts import Wanted
from proxy.admin.desk import Conflict, Invalid, NotFound
from proxy.config.settings import Login, ServiceAccount, Strategy
from proxy.domain.secret import Secret
from proxy.domain.sign_in import Stage
from proxy.store import accounts as store
from proxy.store import hashing, links, people, portal_sessions
from proxy.store.links import Purpose
from proxy.store.people import Person
from proxy.store.portal_sessions import PortalSession
from tests.admin.office import NOW, OPERATOR, Office


def add(office: Office, address: str, **more: object) -> accounts.AccountDetail:
    return asyncio.run(accounts.add(office.desk, OPERATOR, Wanted(address, **more)))  # type: ignore[arg-type]


def mint(office: Office, account: str, name: str, **more: object) -> int:
    created = asyncio.run(app_passwords.create(office.desk, OPERATOR, account, name, **more))  # type: ignore[arg-type]
    return created["id"]


def test_an_account_is_added_with_everything_it_has(office: Office) -> None:
    detail = add(
        office, "Alice", aliases=("a.smith@example.net", "ALICE"), name="Alice Smith", backend_name="u1001", admin=True
    )
    assert detail == {
        "id": 1,
        "account": "alice@example.org",
        "kind": "person",
        "login_names": ["alice@example.org", "a.smith@example.net"],
        "mfa": "disabled",
        "enabled": True,
        "app_passwords": 0,
        "factors": [],
        "last_sign_in": None,
        "name": "Alice Smith",
        "backend_name": "u1001",
        "admin": True,
        "owner": None,
        "members": [],
        "created": "2026-09-21T14:13:20.000Z",
    }
    assert office.events() == [("account_added", "alice@example.org", None, "kind=person")]
    assert asyncio.run(accounts.show(office.desk, "a.smith@example.net")) == detail


def test_the_account_password_is_stored_hashed_apart(office: Office) -> None:
    add(office, "alice", password=Secret("correct horse"))
    asyncio.run(accounts.set_password(office.desk, OPERATOR, "alice", Secret("battery staple")))
    with office.store.reading() as c:
        phc = store.password_hash(c, 1)
    assert phc is not None
    assert hashing.verify_account_password(phc.reveal(), "battery staple")
    assert not hashing.verify_account_password(phc.reveal(), "correct horse")
    assert office.events()[-1][0] == "account_password_changed"


def test_another_account_password_signs_out_and_ends_what_waited_for_it(office: Office) -> None:
    add(office, "alice", password=Secret("correct horse"))
    with office.store.writing() as c:
        people.change(c, 1, must_change=True, push_blocked=True)
        links.add(c, b"link", 1, Purpose.SET_PASSWORD, now=NOW, expires=NOW + 60)
        session = PortalSession(b"t", 1, Stage.IN, NOW, NOW, NOW + 60, NOW, None, None, "192.0.2.7", "Firefox")
        portal_sessions.add(c, session)
    with pytest.raises(Invalid, match="among the first"):
        asyncio.run(accounts.set_password(office.desk, OPERATOR, "alice", Secret("iloveyou")))
    asyncio.run(accounts.set_password(office.desk, OPERATOR, "alice", Secret("battery staple")))
    with office.store.reading() as c:
        assert people.by_id(c, 1) == Person(1)
        assert links.find(c, b"link", NOW, Purpose.SET_PASSWORD) is None
        assert portal_sessions.of_account(c, 1, NOW) == []


@pytest.mark.parametrize(
    ("address", "more", "says"),
    [
        ("alice@elsewhere.org", {}, "not in a domain served here"),
        ("a b@example.org", {}, "cannot be an address"),
        ("DOM\\alice", {}, "cannot be an address"),
        ("cn=alice@example.org", {}, "cannot be an address"),
        ("@example.org", {}, "cannot be an address"),
        ("alice", {"kind": "robot"}, "no kind of account"),
        ("printer", {"kind": "service"}, "needs an owner"),
        ("alice", {"owner": "bob"}, "only a service account has an owner"),
        ("alice", {"members": ("bob",)}, "only a shared mailbox has members"),
        ("info", {"kind": "shared", "admin": True}, "only a person signs in"),
        ("info", {"kind": "shared", "password": Secret("long enough")}, "only a person signs in"),
        ("alice", {"password": Secret("short")}, "8 to 1024 characters"),
        ("alice", {"password": Secret("password1")}, "among the first that anybody would try"),
        ("alice", {"password": Secret("Alice@example.org")}, "must not be the account's name"),
        ("alice", {"aliases": ("a*b",)}, "cannot be a login name$"),
        ("alice", {"aliases": ('cn="alice"',)}, "cannot be a login name; a DN takes names and plain values"),
        ("alice", {"backend_name": "alice*master"}, "cannot be a backend name"),
        ("alice", {"name": "Alice\x1b[2J"}, "printable characters"),
    ],
)
def test_what_cannot_be_an_account_is_refused_with_a_reason(
    office: Office, address: str, more: dict[str, object], says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        add(office, address, **more)
    assert office.events() == []


def test_a_name_leads_to_one_account_only(office: Office) -> None:
    add(office, "alice", aliases=("al",))
    with pytest.raises(Conflict, match=r"'al@example[.]org' is taken"):
        add(office, "al")
    with pytest.raises(Conflict, match="taken"):
        add(office, "bob", aliases=("alice",))


def test_a_dn_is_a_login_name_in_any_spelling(office: Office) -> None:
    added = add(office, "alice", aliases=("CN=Alice Liddell, OU=People,DC=example,DC=org", "al"))
    assert added["login_names"][1:] == ["al@example.org", "cn=alice liddell,ou=people,dc=example,dc=org"]
    assert asyncio.run(accounts.show(office.desk, "cn=ALICE  liddell,ou=People, dc=example,dc=org")) == added
    with pytest.raises(Conflict, match=r"'cn=alice liddell,ou=people,dc=example,dc=org' is taken"):
        add(office, "bob", aliases=("CN=alice liddell,OU=People,DC=example,DC=org",))


def change_aliases(office: Office, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
    done = asyncio.run(accounts.change_aliases(office.desk, OPERATOR, name, add, remove))
    assert done == asyncio.run(accounts.show(office.desk, done["account"]))
    return done["login_names"]


OLD, NEW = "cn=alice liddell,dc=example", "cn=alice hargreaves,dc=example"


def test_aliases_follow_a_name_that_changed(office: Office) -> None:
    add(office, "alice", aliases=(OLD, "al"))
    office.connect("s1", mint(office, "alice", "phone"))
    office.log.clear()
    spelled = "CN=Alice  Hargreaves, DC=Example"
    names = change_aliases(office, OLD, add=[spelled, "AL", "alice"], remove=["CN=Alice Liddell,DC=example"])
    assert names == ["alice@example.org", "al@example.org", NEW]
    assert office.log == ["changed 1"]
    assert len(list(office.sessions)) == 1
    with pytest.raises(NotFound):
        asyncio.run(accounts.show(office.desk, OLD))
    assert office.events()[-2:] == [
        ("account_changed", "alice@example.org", None, f"aliases removed: {OLD}"),
        ("account_changed", "alice@example.org", None, f"aliases added: {NEW}"),
    ]
    add(office, "bob", aliases=(OLD,))


@pytest.mark.parametrize(
    ("names", "error", "says"),
    [
        ({"add": [NEW, "BOB"]}, Conflict, "the login name 'bob@example.org' is taken already"),
        ({"add": [NEW, "*"]}, Invalid, "cannot be a login name"),
        (
            {"add": [NEW], "remove": ["al", "Alice"]},
            Conflict,
            "alice@example.org is the account's address, which stays",
        ),
        ({"add": [NEW], "remove": ["al", "bob"]}, Conflict, "'bob' is no login name of alice@example.org"),
        ({"add": [NEW], "remove": ["al", "*"]}, Conflict, "'\\*' is no login name of alice@example.org"),
    ],
)
def test_aliases_change_together_or_not_at_all(
    office: Office, names: dict[str, list[str]], error: type[Exception], says: str
) -> None:
    add(office, "alice", aliases=("al",))
    add(office, "bob")
    before = office.events()
    with pytest.raises(error, match=says):
        change_aliases(office, "alice", **names)
    assert asyncio.run(accounts.show(office.desk, "alice"))["login_names"] == ["alice@example.org", "al@example.org"]
    assert office.events() == before


@pytest.mark.parametrize("dn", ["CN=Chat,dc=example", "cn=sidegate, dc=example"])
def test_a_service_is_no_account(office: Office, dn: str) -> None:
    """Its password passes to the directory, or it speaks for everybody."""
    login = Login(Strategy.SERVICE_IDENTITY, bind_dn="cn=sidegate,dc=example")
    services = (ServiceAccount("cn=chat,dc=example", ("10.0.0.7/32",)),)
    directory = replace(office.desk.config.backends["submission"], login=login, service_accounts=services)
    office.desk.config = replace(office.desk.config, backends={"directory": directory})
    with pytest.raises(Invalid, match="is a service's own DN"):
        add(office, "alice", aliases=(dn,))


def test_no_backend_can_take_one_account_for_another(office: Office) -> None:
    add(office, "alice")
    add(office, "bob", backend_name="u1")
    for backend_name in ("alice", "ALICE", "u1", "U1"):
        with pytest.raises(Conflict, match=r"would take|is taken"):
            add(office, "carol", backend_name=backend_name)
    add(office, "carol", backend_name="bob")  # bob goes by another name there
    add(office, "erin", backend_name="dave")
    with pytest.raises(Conflict, match=r"would take dave@example\.org for erin@example\.org"):
        add(office, "dave")


def test_a_directory_names_nobody_by_a_backend_name(office: Office) -> None:
    submission = office.desk.config.backends["submission"]
    directory = replace(submission, name="directory", username="{account}", login=Login(Strategy.PROXIED_AUTHORIZATION))
    both = replace(office.desk.config, backends={"submission": submission, "directory": directory})
    assert backend_names.called(both, "alice@example.org", None) == {"alice"}


def test_a_service_account_has_a_person_who_answers_for_it(office: Office) -> None:
    add(office, "alice")
    assert add(office, "printer", kind="service", owner="alice")["owner"] == "alice@example.org"
    with pytest.raises(Invalid, match="not a person"):
        add(office, "scanner", kind="service", owner="printer")
    with pytest.raises(NotFound, match="no account 'nobody'"):
        add(office, "scanner", kind="service", owner="nobody")


def test_disable_cuts_and_enable_brings_back(office: Office) -> None:
    add(office, "alice")
    phone = mint(office, "alice", "phone")
    office.connect("s1", phone)
    office.log.clear()
    done = asyncio.run(accounts.disable(office.desk, OPERATOR, "alice"))
    assert done == {"account": "alice@example.org", "revoked": [], "sessions_cut": 1}
    assert office.log == ["changed 1", "cut app_passwords=[] accounts=[1] sessions=[]"]
    assert asyncio.run(accounts.listing(office.desk))[0]["enabled"] is False
    with pytest.raises(Conflict, match="disabled"):
        mint(office, "alice", "laptop")
    view = asyncio.run(accounts.enable(office.desk, OPERATOR, "alice"))
    assert (view["enabled"], view["app_passwords"]) == (True, 1)
    assert [event[0] for event in office.events()][-2:] == ["account_disabled", "account_enabled"]


def test_disabling_a_person_ends_what_they_made_for_shared_mailboxes(office: Office) -> None:
    add(office, "alice")
    add(office, "bob")
    add(office, "info", kind="shared", members=("alice", "bob"))
    mine = mint(office, "info", "phone", owner="alice")
    other = mint(office, "info", "laptop", owner="bob")
    office.connect("mine", mine)
    office.connect("other", other)
    done = asyncio.run(accounts.disable(office.desk, OPERATOR, "alice"))
    assert (done["revoked"], done["sessions_cut"]) == ([mine], 1)
    assert [session.id for session in office.sessions] == ["other"]
    assert (
        "app_password_revoked",
        "info@example.org",
        "phone",
        f"id={mine} its person was disabled",
    ) in office.events()


def test_remove_ends_everything_of_the_account(office: Office) -> None:
    add(office, "alice")
    add(office, "info", kind="shared", members=("alice",))
    own, shared = mint(office, "alice", "phone"), mint(office, "info", "phone")
    office.connect("s1", own)
    office.connect("s2", shared)
    done = asyncio.run(accounts.remove(office.desk, OPERATOR, "alice"))
    assert done == {"account": "alice@example.org", "revoked": [own, shared], "sessions_cut": 2}
    assert [view["account"] for view in asyncio.run(accounts.listing(office.desk))] == ["info@example.org"]
    with pytest.raises(NotFound):
        asyncio.run(accounts.show(office.desk, "alice"))
    assert ("account_removed", "alice@example.org", None, "app_passwords=2") in office.events()


def test_members_come_and_go_with_what_they_made(office: Office) -> None:
    for name in ("alice", "bob"):
        add(office, name)
    add(office, "info", kind="shared")
    detail = asyncio.run(accounts.add_members(office.desk, OPERATOR, "info", ["bob", "alice", "bob"]))
    assert detail["members"] == ["alice@example.org", "bob@example.org"]
    phone = mint(office, "info", "phone", owner="bob")
    office.connect("s1", phone)
    done = asyncio.run(accounts.remove_member(office.desk, OPERATOR, "info", "bob"))
    assert done == {"account": "info@example.org", "revoked": [phone], "sessions_cut": 1}
    with pytest.raises(Conflict, match="no member"):
        asyncio.run(accounts.remove_member(office.desk, OPERATOR, "info", "bob"))
    with pytest.raises(Invalid, match="only a shared mailbox has members"):
        asyncio.run(accounts.add_members(office.desk, OPERATOR, "alice", ["bob"]))


def test_the_list_can_be_narrowed_to_those_who_have_none(office: Office) -> None:
    add(office, "alice")
    add(office, "bob")
    mint(office, "alice", "phone")
    views = asyncio.run(accounts.listing(office.desk, no_app_passwords=True))
    assert [view["account"] for view in views] == ["bob@example.org"]


def test_whoever_is_disabled_or_removed_is_thrown_out_of_chats(office: Office) -> None:
    """By name: of a removed account the store has nothing more to say."""
    add(office, "alice")
    office.services = ["cn=chat"]
    done = asyncio.run(accounts.disable(office.desk, OPERATOR, "alice"))
    assert done["chat"] == [{"service": "cn=chat", "users": 1, "problem": None}]
    asyncio.run(accounts.remove(office.desk, OPERATOR, "alice"))
    assert office.kicked == [({1}, ["alice@example.org"])] * 2
