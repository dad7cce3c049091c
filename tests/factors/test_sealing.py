import secrets

import pytest

from proxy.factors.sealing import Sealer, Unsealable

KEY = bytes(range(32))


def sealer(key: bytes = KEY) -> Sealer:
    return Sealer(key, secrets.token_bytes)


def test_sealed_for_one_context_and_one_key() -> None:
    sealed = sealer().seal(b"totp seed", context="factor:1:totp")
    assert sealer().open(sealed, context="factor:1:totp") == b"totp seed"
    assert b"totp seed" not in sealed
    assert sealer().seal(b"totp seed", context="factor:1:totp") != sealed
    for opener, context in (
        (sealer(), "factor:2:totp"),
        (sealer(), "factor:1:push"),
        (sealer(bytes(32)), "factor:1:totp"),
    ):
        with pytest.raises(Unsealable, match=r"\(factor\) cannot be opened.*restore keys/portal-1"):
            opener.open(sealed, context=context)


@pytest.mark.parametrize("damage", [lambda s: s[:-1], lambda s: b"\x02" + s[1:], lambda s: s[:20] + b"x" + s[21:]])
def test_damage_shows(damage) -> None:
    sealed = sealer().seal(b"totp seed that is longer", context="factor:1:totp")
    for wrong in (damage(sealed), b"", b"\x01", sealed[:13]):
        with pytest.raises(Unsealable):
            sealer().open(wrong, context="factor:1:totp")


def test_empty_and_large_are_sealed_too() -> None:
    for plain in (b"", bytes(100_000)):
        assert sealer().open(sealer().seal(plain, context="x"), context="x") == plain


def test_digests_are_of_their_key_and_context() -> None:
    made = sealer().digest("123456", context="recovery:1")
    assert len(made) == 32
    assert made == sealer().digest("123456", context="recovery:1")
    others = {
        sealer().digest("123457", context="recovery:1"),
        sealer().digest("123456", context="recovery:2"),
        sealer(bytes(32)).digest("123456", context="recovery:1"),
    }
    assert len(others | {made}) == 4
    sealer().digest("\ud800", context="name")  # what came from a form may be no text


def test_keys_of_other_purposes_have_nothing_in_common() -> None:
    one, other = sealer(), sealer(bytes(32))
    assert one.derive("vapid", 48) == sealer().derive("vapid", 48)
    assert len({one.derive("vapid", 48), one.derive("other", 48), other.derive("vapid", 48)}) == 3
