import hashlib
import re

from proxy.domain import tokens


def test_a_token_is_written_without_signs_and_known_by_its_hash() -> None:
    token = tokens.written(bytes(range(224, 256))).reveal()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert tokens.hash_of(token) == hashlib.sha256(token.encode()).digest()
    assert tokens.written(bytes(32)).reveal() != token
    assert len(tokens.hash_of("\ud800 what a client sent")) == 32
