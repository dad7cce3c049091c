"""`factors`: what is taken, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.factor_settings import PhoneCodes, Push, Webhook
from proxy.config.loading import load
from proxy.config.showing import show
from proxy.domain.secret import Secret
from tests.config.mistakes import VALID, loaded, mistakes


def push(tmp_path: Path, text: str) -> Push:
    return loaded(tmp_path, f"{VALID}factors: {{push: {text}}}\n").factors.push


def test_the_postmaster_is_the_contact_unless_another_is_named(tmp_path: Path) -> None:
    assert loaded(tmp_path).factors.push == Push("mailto:postmaster@example.org", ())
    assert push(tmp_path, '{contact: "https://example.org/help"}').contact == "https://example.org/help"


def test_services_are_origins(tmp_path: Path) -> None:
    written = '{services: ["https://Push.example.org:443", "https://ntfy.example.org:8443/", "http://127.0.0.1:80"]}'
    assert push(tmp_path, written).services == (
        "https://push.example.org",
        "https://ntfy.example.org:8443",
        "http://127.0.0.1",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{contact: "postmaster@example.org"}', "contact: is neither mail nor a page"),
        ('{contact: "mailto:postmaster"}', "contact: is neither mail nor a page"),
        ('{services: ["https://push.example.org/up"]}', "services[0]: has a path"),
        ('{services: ["http://10.0.0.7:8080"]}', "services[0]: must be https"),
        ('{services: ["push.example.org"]}', "services[0]: is not a URL"),
        ("{service: x}", "service: unknown key; did you mean services?"),
        ("on", "must be a mapping"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    (said,) = mistakes(tmp_path, f"{VALID}factors: {{push: {text}}}\n")
    assert expected in said


# ---- codes to phone numbers -----------------------------------------------------------------------

WHSEC = "whsec_" + "AQID" * 10


def secret(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / name
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_codes_are_off_unless_somebody_sends_them(tmp_path: Path) -> None:
    found = loaded(tmp_path).factors
    assert (found.sms, found.call) == (None, None)


def test_a_webhook(tmp_path: Path) -> None:
    hook = f'{{url: "https://gateway.example.org/send", secret_file: {secret(tmp_path, "secret", WHSEC)}}}'
    config = loaded(tmp_path, f"{VALID}factors: {{sms: {{webhook: {hook}, countries: [ES, PT]}}}}\n")
    expected = Webhook("https://gateway.example.org/send", Secret(WHSEC))
    assert config.factors.sms == PhoneCodes(("ES", "PT"), 200, expected)
    assert config.factors.call is None
    assert WHSEC not in show(config, only_changed=False)
    assert "gateway.example.org" in show(config, only_changed=True)


def test_apprise_has_its_url_from_a_file(tmp_path: Path) -> None:
    file = secret(tmp_path, "apprise", "sinch://plan:key@34600000000/{to}")
    config = loaded(tmp_path, f"{VALID}factors: {{call: {{apprise_file: {file}, countries: [ES], daily_limit: 5}}}}\n")
    assert config.factors.call == PhoneCodes(("ES",), 5, None, Secret("sinch://plan:key@34600000000/{to}"))
    assert "sinch" not in show(config, only_changed=False)


def test_who_may_not_read_secrets_sees_that_there_is_one(tmp_path: Path) -> None:
    file = secret(tmp_path, "apprise", "nonsense")
    text = f"{VALID}factors: {{call: {{apprise_file: {file}, countries: [ES]}}}}\n"
    path = tmp_path / "sidegate.yaml"
    path.write_text(text)
    assert load(path, certificates=False, secrets=False, directory=False).factors.call == PhoneCodes(("ES",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{webhook: HOOK}", "sms.countries: is missing"),
        ("{webhook: HOOK, countries: [es]}", "sms.countries[0]: is not the two capital letters"),
        ("{countries: [ES]}", "sms.webhook: is missing"),
        ("{webhook: HOOK, apprise_file: FILE, countries: [ES]}", "sms.webhook: stands beside apprise"),
        ("{apprise_file: SECRET, countries: [ES]}", "sms.apprise_file: must be a URL of Apprise's"),
        ("{webhook: HOOK, countries: [ES], daily_limit: 0}", "sms.daily_limit: is out of range"),
        ("{webhook: HOOK, country: [ES], countries: [ES]}", "sms.country: unknown key"),
        ('{webhook: {url: "https://x.example.org/"}, countries: [ES]}', "webhook.secret: is missing"),
        ('{webhook: {url: "http://x.example.org/", secret_file: SECRET}, countries: [ES]}', "url: must be https"),
        (
            '{webhook: {url: "http://127.0.0.1/", ca: /x, secret_file: SECRET}, countries: [ES]}',
            "ca: means nothing",
        ),
        ('{webhook: {url: "https://x.example.org/", secret_file: FILE}, countries: [ES]}', "must be whsec_ and 24"),
    ],
)
def test_mistakes_about_codes(tmp_path: Path, text: str, expected: str) -> None:
    text = text.replace("HOOK", '{url: "http://127.0.0.1:8080/", secret_file: SECRET}')
    text = text.replace("SECRET", str(secret(tmp_path, "secret", WHSEC)))
    text = text.replace("FILE", str(secret(tmp_path, "apprise", "sinch://x/{to}")))
    (said,) = mistakes(tmp_path, f"{VALID}factors: {{sms: {text}}}\n")
    assert expected in said
