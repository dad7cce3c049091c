import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.login_names import MAX_BYTES, canonical


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("alice", "alice@example.org"),
        ("ALICE", "alice@example.org"),
        ("Alice@Example.ORG", "alice@example.org"),
        ("alice+tag@example.org", "alice+tag@example.org"),
        ("alice_b.c-d@example.org", "alice_b.c-d@example.org"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("alice@BÜCHER.example", "alice@xn--bcher-kva.example"),
        ("CORP\\Alice", "corp\\alice"),
        ("o'brien@example.org", "o'brien@example.org"),
        ("host/alice", "host/alice"),
        ("CN=Alice  Liddell, OU=People,DC=example,DC=org", "cn=alice liddell,ou=people,dc=example,dc=org"),
        ("a" * (MAX_BYTES - 12) + "@example.org", "a" * (MAX_BYTES - 12) + "@example.org"),
    ],
)
def test_spellings_that_can_be_names(raw: str, expected: str) -> None:
    assert canonical(raw, "example.org") == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " alice",
        "alice ",
        "al ice",
        "alice@",
        "@example.org",
        "alice@a@b",
        "alice*master",
        "alice%u",
        "alice\x00",
        "alice\n",
        "alice\r\nA1 NOOP",
        "älice@example.org",
        "alicе@example.org",  # a Cyrillic e
        "alice@exa mple.org",
        "alice@-ü.example",
        'ali"ce',
        "alice;b",
        "(alice)",
        "\ud800",
        "a" * (MAX_BYTES + 1),
        "alice=",
        "=alice",
        "2.5.4.3=alice,ou=people",
        "uid=alice*,ou=people",
        "uid=alice\\2a,ou=people",
        "uid=%u",
        "uid=alice\\0a",
        "uid=ali\u202ece",
        "uid=alice," + ",".join(["ou=people"] * 100),
    ],
)
def test_spellings_that_cannot(raw: str) -> None:
    assert canonical(raw, "example.org") is None


@given(st.text(max_size=300))
def test_canonicalising_twice_changes_nothing(raw: str) -> None:
    once = canonical(raw, "example.org")
    if once is not None:
        assert canonical(once, "other.example") == once
        assert not set(once) & set("*%\r\n\0")
        assert "=" in once or (once == once.lower() and " " not in once)


@given(st.text(alphabet="aB@.+ü\\*", max_size=12))
def test_only_ascii_case_and_domain_form_are_folded(raw: str) -> None:
    name = canonical(raw, "example.org")
    if name is not None and raw.isascii():
        assert name in {raw.lower(), raw.lower() + "@example.org"}
