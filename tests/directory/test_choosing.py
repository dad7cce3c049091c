import pytest

from proxy.directory.choosing import MAX_PASSWORD, Unfit, _common, unfit
from proxy.domain.secret import Secret

NAMES = ("alice.smith@example.org", "al", "Alice Smith")


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("xk7 tr!", Unfit.TOO_SHORT),
        ("x" * (MAX_PASSWORD + 1), Unfit.TOO_LONG),
        ("password", Unfit.COMMON),
        ("PassWord", Unfit.COMMON),
        ("ｐａｓｓｗｏｒｄ", Unfit.COMMON),  # full-width letters
        ("qwertyuiop", Unfit.COMMON),
        ("abababababab", Unfit.COMMON),
        ("alice.smith@example.org", Unfit.NAME),
        ("Alice.Smith", Unfit.NAME),
        ("alice.smith2024!", Unfit.NAME),
        ("example.org", Unfit.NAME),
        ("alice smith", Unfit.NAME),
        ("alice.smith has a horse", None),
        ("correct horse battery", None),
        ("tr0ub4dor&3", None),
        ("contraseña-rara", None),
        ("\U0001f40e correct \U0001f50b", None),
    ],
)
def test_what_an_account_password_must_not_be(password: str, problem: Unfit | None) -> None:
    assert unfit(Secret(password), *NAMES) is problem


def test_the_list_is_whole() -> None:
    common = _common()
    assert len(common) == 10_000
    assert all(len(word) >= 8 and word == word.casefold().strip() for word in common)
