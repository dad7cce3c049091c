"""`factors`: what is taken, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.settings import Push
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
