import pytest

from proxy.store import hashing
from proxy.store.errors import StoreUnavailable

LETTERS = "abcdefghjkmnpqrstuvw"


def test_app_passwords_hash_with_the_parameters_of_the_design() -> None:
    phc = hashing.hash_secret(LETTERS)
    assert phc.startswith("$argon2id$v=19$m=1024,t=1,p=1$")
    assert hashing.hash_secret(LETTERS) != phc
    assert hashing.verify(phc, LETTERS)
    assert not hashing.verify(phc, LETTERS[:-1] + "x")
    assert not hashing.verify(phc, "")


def test_account_passwords_hash_with_owasp_parameters() -> None:
    phc = hashing.hash_account_password("Geheim! ünïcode")
    assert phc.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hashing.verify_account_password(phc, "Geheim! ünïcode")
    assert not hashing.verify_account_password(phc, "geheim! ünïcode")


@pytest.mark.parametrize("phc", ["", "canary", "$argon2id$v=19$m=1024,t=1,p=1$canary", "$2b$12$canarycanarycanarycana"])
def test_a_hash_that_cannot_be_read_is_our_fault_and_not_shown(phc: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        hashing.verify(phc, LETTERS)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__
