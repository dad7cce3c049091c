import secrets
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.app_passwords import ALPHABET, check_letter, grouped, mint, normalize, tag
from proxy.domain.secret import Secret

letters = st.text(alphabet=ALPHABET, min_size=19, max_size=19).map(lambda text: text + check_letter(text))


def test_a_known_example() -> None:
    # 19 letters of value 1..19: sum(i * i) = 2470 = 107 * 23 + 9, and value 9 is k
    first = ALPHABET[1:20]
    assert check_letter(first) == ALPHABET[9] == "k"
    assert normalize(first + "k") == first + "k"
    assert grouped(Secret(first + "k")) == "bcde-fghj-kmnp-qrst-uvwk"


@given(letters, st.sampled_from(["", "-", " ", "  - "]), st.booleans())
def test_every_way_to_type_it_is_the_same(password: str, separator: str, upper: bool) -> None:
    typed = separator.join(password[i : i + 4] for i in range(0, 20, 4))
    assert normalize(typed.upper() if upper else typed) == password
    assert normalize(grouped(Secret(password))) == password


@given(letters, st.integers(0, 19), st.sampled_from(ALPHABET))
def test_every_single_wrong_letter_shows(password: str, place: int, letter: str) -> None:
    wrong = password[:place] + letter + password[place + 1 :]
    assert normalize(wrong) == (password if letter == password[place] else None)


@given(letters, st.integers(0, 17))
def test_every_swap_of_neighbours_shows(password: str, place: int) -> None:
    swapped = password[:place] + password[place + 1] + password[place] + password[place + 2 :]
    assert normalize(swapped) == (password if swapped == password else None)


@pytest.mark.parametrize(
    "raw", ["", "hunter2", "a" * 19, "a" * 21, "Пароль", "a" * 20 + "\0", "i" * 20, "a" * 5000, "-" * 90]
)
def test_account_passwords_are_not_shaped(raw: str) -> None:
    assert normalize(raw) is None


@given(st.text(max_size=80))
def test_normalize_takes_anything(raw: str) -> None:
    result = normalize(raw)
    assert result is None or (len(result) == 20 and set(result) <= set(ALPHABET))


def test_minted_ones_are_shaped_and_differ() -> None:
    minted = [mint(secrets.randbelow).reveal() for _ in range(200)]
    assert all(normalize(letters) == letters for letters in minted)
    assert len(set(minted)) == 200
    assert {letter for word in minted for letter in word} == set(ALPHABET)


def test_mint_uses_the_randomness_it_is_given() -> None:
    asked: list[int] = []

    def counting(n: int) -> int:
        asked.append(n)
        return len(asked) % n

    assert mint(counting).reveal()[:19] == "".join(ALPHABET[i % 23] for i in range(1, 20))
    assert asked == [23] * 19


def test_the_tag_depends_on_pepper_account_and_secret() -> None:
    base = tag(b"p" * 32, 1, "a" * 20)
    others = [tag(b"q" * 32, 1, "a" * 20), tag(b"p" * 32, 2, "a" * 20), tag(b"p" * 32, 1, "b" * 20)]
    assert 0 <= base < 2**32
    assert base not in others
    assert base == tag(b"p" * 32, 1, "a" * 20)


def test_the_alphabet_has_no_lookalikes() -> None:
    assert len(ALPHABET) == 23
    assert not set("ilo") & set(ALPHABET)
    assert all(a < b for a, b in pairwise(ALPHABET))
