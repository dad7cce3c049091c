import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import MfaState
from proxy.domain.sign_in import FRESH, Stage, after_password, is_fresh, may_enrol_first

TOTP = [FactorKind.TOTP]


@pytest.mark.parametrize(
    ("mfa", "factors", "remembered", "bypassed", "stage"),
    [
        (MfaState.DISABLED, [], False, False, Stage.IN),
        (MfaState.DISABLED, TOTP, False, False, Stage.IN),
        (MfaState.ENABLED, [], False, False, Stage.ENROL),
        (MfaState.ENFORCED, [], False, False, Stage.ENROL),
        (MfaState.ENABLED, [], True, True, Stage.ENROL),  # neither spares the enrolment
        (MfaState.ENABLED, TOTP, False, False, Stage.CHALLENGE),
        (MfaState.ENFORCED, TOTP, False, False, Stage.CHALLENGE),
        (MfaState.ENFORCED, [FactorKind.RECOVERY_CODE], False, False, Stage.CHALLENGE),
        (MfaState.ENFORCED, TOTP, True, False, Stage.IN),
        (MfaState.ENFORCED, TOTP, False, True, Stage.IN),
    ],
)
def test_where_a_right_account_password_leads(
    mfa: MfaState, factors: list[FactorKind], remembered: bool, bypassed: bool, stage: Stage
) -> None:
    assert after_password(mfa, factors, remembered=remembered, bypassed=bypassed) is stage


def test_a_first_factor_takes_more_than_the_account_password() -> None:
    assert not may_enrol_first(100.0, code_right=False, trusted_network=False, open_until=None)
    assert may_enrol_first(100.0, code_right=True, trusted_network=False, open_until=None)
    assert may_enrol_first(100.0, code_right=False, trusted_network=True, open_until=None)
    assert may_enrol_first(100.0, code_right=False, trusted_network=False, open_until=100.5)
    assert not may_enrol_first(100.5, code_right=False, trusted_network=False, open_until=100.5)


def test_a_factor_is_fresh_for_five_minutes() -> None:
    assert not is_fresh(1000.0, None)
    assert is_fresh(1000.0, 1000.0)
    assert is_fresh(1000.0 + FRESH, 1000.0)
    assert not is_fresh(1000.1 + FRESH, 1000.0)
    assert not is_fresh(1000.0, 1001.0)  # a clock that was set back makes nothing fresh for longer
