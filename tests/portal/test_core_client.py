"""The portal's questions to the core: what is asked, and what becomes of an answer that is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from proxy.portal.core_client import CoreClient, CoreRefusal, CoreUnavailable
from tests.portal.site import Site

R = TypeVar("R")


def asked(site: Site, question: Callable[[CoreClient], Awaitable[R]]) -> R:
    async def ask() -> R:
        return await question(site.desk.core)

    return site.runner.run(ask())


def test_a_person_from_minting_to_revoking(site: Site) -> None:
    alice = site.alice
    made = asked(site, lambda core: core.create(alice, "alice@example.org", "phone", scopes=["imap"], expires="90d"))
    assert (made["name"], made["scopes"], len(made["secret"])) == ("phone", ["imap"], 24)
    site.office.connect("s1", made["id"])
    assert [row["sessions"] for row in asked(site, lambda core: core.app_passwords(alice))] == [1]
    assert asked(site, lambda core: core.app_passwords(alice, "alice"))[0]["id"] == made["id"]
    assert [row["id"] for row in asked(site, lambda core: core.sessions(alice))] == ["s1"]
    renamed = asked(site, lambda core: core.rename(alice, alice.address, made["id"], "telephone"))
    assert renamed["name"] == "telephone"
    narrowed = asked(site, lambda core: core.narrow(alice, alice.address, "telephone", networks=["192.0.2.0/24"]))
    assert narrowed["sessions_cut"] == 1
    site.office.connect("s2", made["id"])
    assert asked(site, lambda core: core.cut(alice, session_id="s2")) == 1
    done = asked(site, lambda core: core.revoke(alice, alice.address, made["id"]))
    assert done == {"revoked": [made["id"]], "sessions_cut": 0}
    asked(site, lambda core: core.enrolled(alice))


def test_a_refusal_has_its_code(site: Site) -> None:
    asked(site, lambda core: core.create(site.alice, "alice", "phone"))
    with pytest.raises(CoreRefusal) as refused:
        asked(site, lambda core: core.create(site.alice, "alice", "phone"))
    assert refused.value.code == "name_taken"
    bob = site.person("bob")
    with pytest.raises(CoreRefusal) as refused:
        asked(site, lambda core: core.revoke(bob, "alice"))
    assert refused.value.code == "forbidden"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503, json={"error": {"code": "unavailable", "message": "the disk is full"}}),
        httpx.Response(500, text="oops"),
        httpx.Response(200, text="<html>"),
    ],
)
def test_what_is_the_cores_fault_is_temporary(site: Site, answer: httpx.Response) -> None:
    core = CoreClient(Path(), transport=httpx.MockTransport(lambda request: answer))
    with pytest.raises(CoreUnavailable):
        site.runner.run(core.app_passwords(site.alice))


@pytest.mark.parametrize("content", ["[]", '{"error": 1}', "null"])
def test_an_error_without_a_code_is_a_refusal_all_the_same(site: Site, content: str) -> None:
    core = CoreClient(Path(), transport=httpx.MockTransport(lambda request: httpx.Response(409, text=content)))
    with pytest.raises(CoreRefusal):
        site.runner.run(core.app_passwords(site.alice))


def test_a_core_that_is_not_there_or_goes_away_is_temporary(site: Site, tmp_path: Path) -> None:
    core = CoreClient(tmp_path / "nothing.sock")
    with pytest.raises(CoreUnavailable):
        site.runner.run(core.app_passwords(site.alice))

    async def hang_up() -> None:
        server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), tmp_path / "core.sock")
        async with server:
            await CoreClient(tmp_path / "core.sock").app_passwords(site.alice)

    with pytest.raises(CoreUnavailable):
        site.runner.run(hang_up())
