import random
import re

from proxy.domain import app_passwords, enrolment_codes


def test_a_code_is_shown_in_other_groups_than_an_app_password_and_read_as_typed() -> None:
    code = enrolment_codes.mint(random.Random(7).randrange)
    shown = enrolment_codes.grouped(code)
    assert re.fullmatch("([a-z]{5}-){3}[a-z]{5}", shown)
    assert shown != app_passwords.grouped(code)
    for typed in (shown, shown.upper(), shown.replace("-", " "), code.reveal()):
        assert enrolment_codes.normalize(typed) == code.reveal()
    assert enrolment_codes.normalize(shown[:-1]) is None
