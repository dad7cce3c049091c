"""Every route of the portal, by what was proven so far: what a password alone opens, and what nothing opens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.routing import Route

from proxy.domain.model import MfaState
from proxy.portal import discovery
from tests.portal.site import PASSWORD, Browser, Site, open_site

EVERYBODY = {
    *(route.path for route in discovery.ROUTES),  # for mail programs, and about nobody
    "/",
    "/healthz",
    "/language",
    "/profile/{token}.mobileconfig",
    "/set-password/{token}",
    "/sign-in",
    "/sign-in/passkey",
    "/sign-out",
}
"""What needs no sign-in: every other route is a step of one, or for who is in."""
STEPS = {
    "challenge": {"/challenge", "/challenge/{kind}"},
    "enrol": {"/enrol", "/enrol/{kind}"},
}
"""What else there is for somebody whose password alone was right."""
FILLED = {"{kind}": "totp", "{token}": "x", "{id:int}": "1", "{id}": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        opened.enrolled("challenge")
        opened.person("enrol", MfaState.ENABLED)
        yield opened


def routes(site: Site) -> list[tuple[str, str]]:
    found = {
        (method, route.path)
        for route in site.pages._application.routes  # type: ignore[attr-defined]
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    return sorted(found)


def ask(browser: Browser, method: str, path: str) -> tuple[int, str]:
    for name, value in FILLED.items():
        path = path.replace(name, value)
    assert "{" not in path, path
    answer = browser.get(path) if method == "GET" else browser.post(path)
    return answer.status_code, answer.headers.get("location", "").partition("?")[0]


def at(site: Site, stage: str) -> Browser:
    browser = site.browser()
    if stage in STEPS:
        site.later(60)
        assert browser.post("/sign-in", name=stage, password=PASSWORD).headers["location"] == f"/{stage}"
    return browser


@pytest.mark.parametrize("stage", ["nobody", *STEPS])
def test_only_what_leads_on_is_reachable(site: Site, stage: str) -> None:
    every = routes(site)
    assert len(every) > 15
    browser, goal = at(site, stage), "/sign-in" if stage == "nobody" else f"/{stage}"
    opened = []
    for method, path in every:
        if path in EVERYBODY:
            continue
        answer = ask(browser, method, path)
        if path in STEPS.get(stage, ()):
            opened.append(answer)
        else:
            assert answer == (303, goal), (method, path)
    assert bool(opened) == (stage in STEPS)
