import copy
import pickle

import pytest

from proxy.domain.secret import Secret

CANARY = "canary-hunter2"


def test_nothing_but_reveal_shows_it() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", repr([secret]), "%s" % secret]  # noqa: UP031
    assert not any(CANARY in text for text in shown)
    assert secret.reveal() == CANARY


def test_it_cannot_be_pickled_or_copied() -> None:
    for escape in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            escape(Secret(CANARY))


def test_equality_is_by_value_and_type() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("other")
    assert Secret(CANARY) != CANARY
    assert hash(Secret(CANARY)) == hash(Secret(CANARY))
    assert Secret("\ud800") == Secret("\ud800")
