from __future__ import annotations

import asyncio

import pytest

from proxy.admin import accounts, accounts_import
from proxy.admin.accounts import Wanted
from proxy.admin.desk import Conflict
from proxy.admin.import_file import FileErrors
from tests.admin.office import OPERATOR, Office

WHOLE = """\
kind,address,name,aliases,owner,members,backend_name,admin
service,printer,,,alice,,,
shared,info,,contact office,,alice bob,,
,alice,"Smith, Alice",a.smith,,,u1001,yes

person,bob@example.org,Bob,,,,,no
"""


def run(office: Office, text: str, *, dry_run: bool = False) -> accounts_import.Imported:
    return asyncio.run(accounts_import.import_accounts(office.desk, OPERATOR, "people.csv", text, dry_run=dry_run))


def errors(office: Office, text: str) -> list[str]:
    with pytest.raises(FileErrors) as refused:
        run(office, text)
    assert office.events() == []
    return refused.value.lines


def test_a_file_is_imported_whatever_its_order(office: Office) -> None:
    done = run(office, WHOLE)
    assert (done["added"], done["already_there"], done["dry_run"]) == (4, 0, False)
    alice, info, printer = (asyncio.run(accounts.show(office.desk, n)) for n in ("alice", "info", "printer"))
    assert alice["login_names"] == ["alice@example.org", "a.smith@example.org"]
    assert (alice["name"], alice["backend_name"], alice["admin"]) == ("Smith, Alice", "u1001", True)
    assert info["members"] == ["alice@example.org", "bob@example.org"]
    assert printer["owner"] == "alice@example.org"
    assert {event[3] for event in office.events()} == {
        f"kind={kind} job={done['job']}" for kind in ("person", "shared", "service")
    }


def test_a_dry_run_checks_everything_and_writes_nothing(office: Office) -> None:
    assert run(office, WHOLE, dry_run=True)["added"] == 4
    assert asyncio.run(accounts.listing(office.desk)) == []


def test_the_same_file_can_be_run_again(office: Office) -> None:
    run(office, WHOLE)
    done = run(office, WHOLE + "person,carol,,,,,,\n")
    assert (done["added"], done["already_there"]) == (1, 4)


def test_every_mistake_is_told_at_once_with_its_place(office: Office) -> None:
    assert errors(
        office,
        "address,kind,aliases,owner,members,admin,name,backend_name\n"
        "al ice,,,,,,,\n"
        "bob@elsewhere.org,,,,,maybe,,\n"
        'carol,robot,,,,,"Ca\nrol",\n'
        "dave,,d*,,,,a\x07b,x y\n"
        "printer,service,,,,,,\n"
        "scanner,service,,nobody,,,,\n"
        "info,shared,,,erin frank,,,u1\n"
        "erin,,,,,,,u1\n"
        "erin,,,,,,,\n"
        "too,,,,,,,,many\n",
    ) == [
        "people.csv:2: address: 'al ice' cannot be an address; it takes letters, digits and . _ + - around one @",
        "people.csv:3: address: 'bob@elsewhere.org' is not in a domain served here (example.org); "
        "add it to `domains:` first",
        "people.csv:3: admin: write yes or no",
        "people.csv:4: kind: 'robot' is no kind of account; kinds are person, shared, service",
        "people.csv:6: aliases: 'd*' cannot be a login name",
        "people.csv:6: backend_name: 'x y' cannot be a backend name: no spaces, control characters, quotes, * or %",
        "people.csv:6: name: a display name must be 1 to 128 printable characters without space around it",
        "people.csv:7: kind: printer@example.org: a service account needs an owner, the person who answers for it",
        "people.csv:8: owner: there is no account 'nobody@example.org', here or in the store",
        "people.csv:9: members: there is no account 'frank@example.org', here or in the store",
        "people.csv:10: backend_name: 'u1' is what backends call line 9 already",
        "people.csv:11: address: 'erin@example.org' is in line 10 already",
        "people.csv:12: has 9 fields, the header has 8",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "people.csv:1: is empty; the first line names the columns: address,kind"),
        ("alice\nbob\n", "people.csv:1: address: this column is required"),
        ("address,password\nalice,x\n", "people.csv:1: password: is no column"),
        ("address,name,name\nalice,x,y\n", "people.csv:1: name: is there twice"),
        ('address\n"alice\n', "people.csv:2: is not CSV"),
    ],
)
def test_a_file_that_is_no_such_file(office: Office, text: str, says: str) -> None:
    assert errors(office, text)[0].startswith(says)


def test_names_that_lead_elsewhere_already_are_told(office: Office) -> None:
    asyncio.run(accounts.add(office.desk, OPERATOR, Wanted("alice", aliases=("al",), backend_name="u1")))
    with pytest.raises(FileErrors) as refused:
        run(office, "address,aliases,backend_name\nal,,\nbob,alice,u1\n")
    assert refused.value.lines == [
        "people.csv:2: address: 'al@example.org' leads to alice@example.org already",
        "people.csv:3: aliases: 'alice@example.org' leads to alice@example.org already",
        "people.csv:3: backend_name: 'u1' is what backends call alice@example.org already",
    ]


def test_a_column_for_dns(office: Office) -> None:
    run(office, 'address,aliases,dn\nalice,al,"CN=Alice Liddell,DC=example"\nbob,,\n')
    alice = asyncio.run(accounts.show(office.desk, "cn=alice liddell, dc=example"))
    assert alice["login_names"] == ["alice@example.org", "al@example.org", "cn=alice liddell,dc=example"]
    with pytest.raises(FileErrors) as refused:
        run(
            office,
            "dn,address,aliases\n"
            '"CN=Alice  Liddell,DC=Example",carol,\n'
            "cn=d,dave,d\n"
            "CN=D,erin,D\n"
            "cn=*,frank,\n"
            "frank,grace,\n",
        )
    assert refused.value.lines == [
        "people.csv:2: dn: 'cn=alice liddell,dc=example' leads to alice@example.org already",
        "people.csv:4: aliases: 'd@example.org' is in line 3 already",
        "people.csv:4: dn: 'cn=d' is in line 3 already",
        "people.csv:5: dn: 'cn=*' cannot be a login name; a DN takes names and plain values without * and %, and "
        "1,024 bytes",
        "people.csv:6: dn: 'frank' is no DN; write CN=…,OU=…,DC=…",
    ]


def test_a_big_file_is_written_in_slices(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = []
    write = accounts_import._write

    def counted(*args: object) -> int:
        slices.append(len(args[3]))  # type: ignore[arg-type]
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(accounts_import, "_write", counted)
    text = "address\n" + "".join(f"user{n:04}\n" for n in range(120))
    assert run(office, text)["added"] == 120
    assert slices == [50, 50, 20]


def test_a_change_that_comes_between_is_told_and_can_be_gone_on_from(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_import, "SLICE", 1)
    write = accounts_import._write

    def raced(c: object, desk: object, actor: object, part: object, job: str) -> int:
        if part[0].new.address.startswith("bob"):  # type: ignore[index]
            accounts.store.add(c, part[0].new)  # type: ignore[arg-type,index]
        return write(c, desk, actor, part, job)  # type: ignore[arg-type]

    monkeypatch.setattr(accounts_import, "_write", raced)
    with pytest.raises(Conflict, match=r"1 accounts were added, then the login name 'bob@example[.]org' is taken"):
        run(office, "address\nalice\nbob\ncarol\n")
    monkeypatch.setattr(accounts_import, "_write", write)
    assert run(office, "address\nalice\nbob\ncarol\n")["already_there"] == 1
