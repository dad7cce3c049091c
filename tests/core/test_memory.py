"""What is remembered is right, bounded, and gone when anything changes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from proxy.core.memory import MAX_APP_PASSWORDS, Memory
from proxy.domain.model import DEFAULT_SCOPES, Account, AccountKind, AppPasswordRecord, MfaState
from proxy.domain.secret import Secret

KEY = bytes(32)


def account(number: int) -> Account:
    return Account(
        number, f"user{number}@example.org", AccountKind.PERSON, True, None, None, MfaState.DISABLED, False, None, 0.0
    )


def record(account_id: int, number: int, generation: int = 1) -> AppPasswordRecord:
    return AppPasswordRecord(
        number, account_id, account_id, "phone", DEFAULT_SCOPES, (), 0.0, None, None, None, generation, 1, number,
        Secret(f"phc{number}"),
    )  # fmt: skip


def remembering(*numbers: int) -> Memory:
    memory = Memory(KEY)
    for number in numbers:
        memory.remember_account(f"user{number}@example.org", account(number))
        memory.remember_verified(account(number), record(number, 10 + number), memory.digest(number, "secret"))
    return memory


def test_what_was_verified_is_found_again():
    memory = remembering(1)
    assert memory.account("user1@example.org") == account(1)
    assert memory.verified(account(1), memory.digest(1, "secret")) == record(1, 11)


def test_nothing_else_is():
    memory = remembering(1, 2)
    digest = memory.digest(1, "secret")
    assert memory.account("user3@example.org") is None
    assert memory.verified(account(1), memory.digest(1, "another")) is None
    assert memory.verified(account(1), memory.digest(2, "secret")) is None
    assert memory.verified(account(2), digest) is None
    assert memory.verified(account(3), digest) is None


def test_a_digest_is_of_one_account_and_one_process():
    memory = Memory(KEY)
    assert memory.digest(1, "secret") != memory.digest(2, "secret")
    assert memory.digest(1, "secret") != Memory(b"k" * 32).digest(1, "secret")


def test_a_change_forgets_all_of_the_account_and_nothing_of_others():
    memory = remembering(1, 2)
    memory.remember_account("alias@example.org", account(1))
    memory.forget(1)
    assert memory.account("user1@example.org") is None
    assert memory.account("alias@example.org") is None
    assert memory.verified(account(1), memory.digest(1, "secret")) is None
    assert memory.account("user2@example.org") == account(2)
    assert memory.verified(account(2), memory.digest(2, "secret")) == record(2, 12)


def test_a_change_is_counted_also_of_what_is_not_remembered():
    memory = Memory(KEY)
    memory.forget(4711)
    assert memory.changes == 1


def test_all_is_forgotten_at_once():
    memory = remembering(1, 2)
    memory.forget_all()
    assert memory.changes == 1
    assert memory.account("user1@example.org") is None
    assert memory.verified(account(2), memory.digest(2, "secret")) is None


def test_the_hash_a_secret_was_verified_against():
    memory = remembering(1)
    digest = memory.digest(1, "secret")
    assert memory.hash_of(record(1, 11), digest) == Secret("phc11")
    assert memory.hash_of(record(1, 11), memory.digest(1, "another")) is None
    assert memory.hash_of(record(1, 12), digest) is None
    assert memory.hash_of(record(2, 11), digest) is None


def test_a_name_that_went_to_another_account_stays_with_it():
    memory = remembering(1)
    memory.remember_account("user1@example.org", account(2))
    memory.forget(1)
    assert memory.account("user1@example.org") == account(2)


def test_the_value_is_checked_again_at_a_hit():
    memory = remembering(1)
    digest = memory.digest(1, "secret")
    memory._accounts[1].verified[digest] = record(2, 11)
    assert memory.verified(account(1), digest) is None


def test_the_account_used_longest_ago_goes_first():
    memory = Memory(KEY, max_accounts=2)
    for number in (1, 2):
        memory.remember_account(f"user{number}@example.org", account(number))
    memory.account("user1@example.org")
    memory.remember_account("user3@example.org", account(3))
    assert memory.account("user2@example.org") is None
    assert memory.account("user1@example.org") == account(1)
    assert memory.changes == 0  # nothing changed: it was only forgotten


def test_app_passwords_of_one_account_are_bounded():
    memory = Memory(KEY)
    memory.remember_account("user1@example.org", account(1))
    for number in range(MAX_APP_PASSWORDS + 5):
        memory.remember_verified(account(1), record(1, number), memory.digest(1, f"secret{number}"))
    assert len(memory._accounts[1].verified) == MAX_APP_PASSWORDS
    assert memory.verified(account(1), memory.digest(1, "secret0")) is None


class Model(RuleBasedStateMachine):
    """Against a plain table of what was verified since the last change of its account."""

    accounts = Bundle("accounts")

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(KEY, max_accounts=1000)
        self.generation = dict.fromkeys(range(1, 4), 1)
        self.known: dict[tuple[int, str], int] = {}
        self.named: set[int] = set()

    @rule(number=st.integers(1, 3))
    def learn_name(self, number: int) -> None:
        self.memory.remember_account(f"user{number}@example.org", account(number))
        self.named.add(number)

    @rule(number=st.integers(1, 3), app=st.integers(10, 12), secret=st.sampled_from("xyz"))
    def verify(self, number: int, app: int, secret: str) -> None:
        stored = record(number, app, self.generation[number])
        self.memory.remember_verified(account(number), stored, self.memory.digest(number, secret))
        if number in self.named:
            self.known[number, secret] = app

    @rule(number=st.integers(1, 3))
    def change(self, number: int) -> None:
        self.generation[number] += 1
        self.memory.forget(number)
        self.named.discard(number)
        self.known = {key: app for key, app in self.known.items() if key[0] != number}

    @invariant()
    def knows_exactly_that(self) -> None:
        for number in range(1, 4):
            assert (self.memory.account(f"user{number}@example.org") is not None) == (number in self.named)
            for secret in "xyz":
                found = self.memory.verified(account(number), self.memory.digest(number, secret))
                app = self.known.get((number, secret))
                assert (found is not None) == (app is not None)
                if found is not None:
                    assert (found.account_id, found.id, found.generation) == (number, app, self.generation[number])


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
