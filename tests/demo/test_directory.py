"""The directory of the demo: what it finds, and what it lets whom change."""

from __future__ import annotations

import pytest

from proxy.demo.directory import BASE, PEOPLE, SERVICE, SERVICES, Directory, Refused, person, shown
from proxy.wire.ldap.grammar import ENUMERATED, OCTETS, SEQUENCE, SET, BerError, element, encode

ALICE, BOB = person("alice@example.org"), person("bob@example.org")
ANYBODY = encode(0x87, b"objectClass")


def directory() -> Directory:
    return Directory(["alice@example.org", "bob@example.org"])


def equal(kind: bytes, value: bytes) -> bytes:
    return encode(0xA3, encode(OCTETS, kind), encode(OCTETS, value))


def like(kind: bytes, *parts: tuple[int, bytes]) -> bytes:
    return encode(0xA4, encode(OCTETS, kind), encode(SEQUENCE, *(encode(0x80 + tag, text) for tag, text in parts)))


def both(*parts: bytes) -> bytes:
    return encode(0xA0, *parts)


def either(*parts: bytes) -> bytes:
    return encode(0xA1, *parts)


def no(part: bytes) -> bytes:
    return encode(0xA2, part)


def names(raw: bytes, base: str = BASE, scope: int = 2) -> list[str]:
    tree = directory()
    return [entry.name for entry in tree.search(base.encode(), scope, tree.filter(raw, element(raw, 0, len(raw))))]


def test_base_and_scope() -> None:
    assert names(ANYBODY) == [BASE, PEOPLE, SERVICES, SERVICE, ALICE, BOB]
    assert names(ANYBODY, scope=1) == [PEOPLE, SERVICES]
    assert names(ANYBODY, scope=0) == [BASE]
    assert names(ANYBODY, "OU=People, dc=EXAMPLE,dc=org", 1) == [ALICE, BOB]
    assert names(ANYBODY, ALICE) == [ALICE]
    assert names(ANYBODY, ALICE, 1) == []
    assert names(ANYBODY, "", 0) == [""]
    for base, scope, code in ((f"uid=carol,{PEOPLE}", 2, 32), ("alice", 2, 34), ("", 2, 32), (BASE, 7, 2)):
        with pytest.raises(Refused) as refused:
            names(ANYBODY, base, scope)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (equal(b"UID", b"ALICE"), [ALICE]),
        (equal(b"cn", b"bob   example"), [BOB]),
        (equal(b"telephoneNumber", b"+15550100"), [ALICE]),
        (equal(b"objectClass", b"inetorgperson"), [ALICE, BOB]),
        (encode(0xA8, encode(OCTETS, b"uid"), encode(OCTETS, b"bob")), [BOB]),
        (encode(0x87, b"mail"), [ALICE, BOB]),
        (encode(0x87, b"jpegPhoto"), []),
        (like(b"mail", (0, b"ALI")), [ALICE]),
        (like(b"mail", (1, b"@example")), [ALICE, BOB]),
        (like(b"mail", (0, b"bo"), (1, b"b@"), (1, b"ple"), (2, b".org")), [BOB]),
        (like(b"uid", (0, b"alic"), (2, b"ice")), []),
        (like(b"uid", (2, b"longer than any")), []),
        (both(equal(b"sn", b"Example"), no(equal(b"uid", b"bob"))), [ALICE]),
        (either(equal(b"uid", b"bob"), equal(b"uid", b"alice")), [ALICE, BOB]),
        (both(), [BASE, PEOPLE, SERVICES, SERVICE, ALICE, BOB]),
        (either(), []),
        (equal(b"unheardOf", b"x"), []),
        (no(equal(b"unheardOf", b"x")), []),
        (either(equal(b"unheardOf", b"x"), equal(b"uid", b"bob")), [BOB]),
        (encode(0xA5, encode(OCTETS, b"uid"), encode(OCTETS, b"a")), []),
    ],
)
def test_filters(raw: bytes, found: list[str]) -> None:
    assert names(raw) == found


def test_a_filter_has_a_depth_and_a_form() -> None:
    deep = equal(b"uid", b"bob")
    for _ in range(18):
        deep = both(deep)
    assert names(no(deep)) == [BASE, PEOPLE, SERVICES, SERVICE, ALICE]
    for _ in range(5000):
        deep = no(deep)
    with pytest.raises(Refused) as refused:
        names(deep)
    assert refused.value.code == 53
    for raw in (encode(0xAF), encode(0xA2), like(b"uid"), like(b"uid", (3, b"x")), encode(0xA3, encode(OCTETS, b"x"))):
        with pytest.raises(BerError):
            names(raw)


def test_attributes_are_selected() -> None:
    tree = directory()
    alice, root = tree.find(ALICE.encode()), tree.search(b"", 0, lambda _: True)[0]
    everything = {b"objectClass", b"uid", b"cn", b"sn", b"mail", b"telephoneNumber"}
    assert {kind for kind, _ in shown(alice, [])} == {kind for kind, _ in shown(alice, [b"*"])} == everything
    assert dict(shown(alice, [b"MAIL", b"nothing"])) == {b"mail": [b"alice@example.org"]}
    assert list(shown(alice, [b"1.1"])) == list(shown(alice, [b"+"])) == []
    assert {kind for kind, _ in shown(root, [])} == {b"objectClass"}
    assert dict(shown(root, [b"+"]))[b"namingContexts"] == [BASE.encode()]
    assert dict(shown(root, [b"supportedLDAPVersion"])) == {b"supportedLDAPVersion": [b"3"]}


def modified(tree: Directory, target: str, *changes: tuple[int, bytes, list[bytes]], who: str | None = ALICE) -> int:
    """The result code."""
    listed = [
        encode(
            SEQUENCE,
            encode(ENUMERATED, bytes([how])),
            encode(SEQUENCE, encode(OCTETS, kind), encode(SET, *(encode(OCTETS, value) for value in values))),
        )
        for how, kind, values in changes
    ]
    raw = encode(OCTETS, target.encode()) + encode(SEQUENCE, *listed)
    try:
        tree.modify(raw, 0, len(raw), tree.account(who) if who else None)
    except Refused as refused:
        return refused.code
    return 0


def test_people_write_their_own_number_and_nothing_else() -> None:
    tree, number = directory(), b"telephoneNumber"
    alice = tree.find(ALICE.encode())
    assert modified(tree, ALICE, (2, number, [b"+1 2"])) == 0
    assert alice.values("telephonenumber") == [b"+1 2"]
    assert modified(tree, ALICE, (0, number, [b"+1 3"]), (1, b"TELEPHONENUMBER", [b"+12"])) == 0
    assert alice.values("telephonenumber") == [b"+1 3"]
    for changes, code in {
        ((0, number, (b"+1-3",)),): 20,
        ((0, number, ()),): 2,
        ((1, number, (b"+9",)),): 16,
        ((2, number, (b"\xff",)),): 21,
        ((3, number, (b"1",)),): 53,
        ((2, number, tuple(b"%d" % value for value in range(11))),): 11,
        ((2, number, (b"+1 4",)), (2, b"mail", (b"x@example.org",))): 50,
    }.items():
        assert modified(tree, ALICE, *((how, kind, list(values)) for how, kind, values in changes)) == code
        assert alice.values("telephonenumber") == [b"+1 3"], "all or nothing"
    assert modified(tree, BOB, (2, number, [b"+1"])) == 50
    assert modified(tree, ALICE, (2, number, [b"+1"]), who=None) == 50
    assert modified(tree, f"uid=carol,{PEOPLE}", (2, number, [b"+1"])) == 32
    assert modified(tree, ALICE, (1, number, [])) == 0
    assert "telephonenumber" not in alice.attributes
    assert modified(tree, ALICE, (1, number, [])) == 16


def test_only_people_are_accounts() -> None:
    tree = directory()
    assert tree.account(ALICE.upper()) is tree.find(ALICE.encode())
    for name in (SERVICE, PEOPLE, "", "alice", f"uid=carol,{PEOPLE}", f'uid="alice",{PEOPLE}'):
        assert tree.account(name) is None
