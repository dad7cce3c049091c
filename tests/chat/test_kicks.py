"""What a kick says, to whom, and what it makes of answers and faults; tests/real/chat has the real servers."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from proxy.chat import http, prosody
from proxy.chat.kick import MAX_ANSWER, CannotKick, chat_user
from proxy.chat.kickers import make
from proxy.config.settings import EjabberdKick, OnRevoke, ProsodyKick, WebhookKick
from proxy.domain.secret import Secret
from proxy.domain.webhooks import signature
from tests.backends.test_strategies import ALICE
from tests.support.sidegate import Certificates

CHAT_USER = "{local}@chat.example.org"
KEY = bytes(range(32))
WHSEC = Secret(f"whsec_{base64.b64encode(KEY).decode()}")
HOSTS_PASSWORD = "hunter2-hunter2"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


# ---- fakes -----------------------------------------------------------------------------------------


@dataclass
class Fake:
    """Speaks to whoever connects as `answer` says, and keeps what it was asked."""

    answer: bytes | None
    """Raw bytes; None: nothing, ever. Empty: closes."""
    asked: bytes = b""

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in self.asked.lower().split(b"\r\n") if b"content-length:" in line)
            self.asked += await reader.readexactly(length)
            if self.answer is None:
                await reader.read()  # until the other side gives up
            else:
                writer.write(self.answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    @property
    def body(self) -> bytes:
        return self.asked.partition(b"\r\n\r\n")[2]

    @property
    def headers(self) -> dict[str, str]:
        lines = self.asked.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def said(status: int, body: object = None, *headers: str) -> bytes:
    text = json.dumps(body).encode() if not isinstance(body, bytes) else body
    lines = [f"HTTP/1.1 {status} So", f"content-length: {len(text)}", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + text


def kicked(answer: bytes | None, on_revoke: OnRevoke) -> tuple[int | None, Fake]:
    """What a kick through a fake HTTP server answers; `PORT` in the URL is the fake's."""

    async def main() -> tuple[int | None, Fake]:
        fake = Fake(answer)
        server = await asyncio.start_server(fake.speak, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert not isinstance(on_revoke, ProsodyKick)
            there = replace(on_revoke, url=on_revoke.url.replace("PORT", str(port)))
            return await make(there)(ALICE), fake

    return asyncio.run(main())


def cannot(then: Callable[[], object]) -> str:
    """What the refusal says; one line, and no secret in it."""
    with pytest.raises(CannotKick) as caught:
        then()
    words = str(caught.value)
    assert "\n" not in words
    assert HOSTS_PASSWORD not in words
    assert WHSEC.reveal() not in words
    return words


EJABBERD = EjabberdKick(
    f"http://127.0.0.1:PORT/api/?{HOSTS_PASSWORD}", CHAT_USER, user="kicker@a.org", password=Secret(HOSTS_PASSWORD)
)
HOOK = WebhookKick(f"http://127.0.0.1:PORT/hook?{HOSTS_PASSWORD}", WHSEC, "{account}")


# ---- who is kicked ---------------------------------------------------------------------------------


def test_the_chat_user_is_from_the_address() -> None:
    assert chat_user(CHAT_USER, ALICE) == "alice@chat.example.org"
    assert chat_user("{account}", replace(ALICE, backend_name="al")) == "alice@example.org"


@pytest.mark.parametrize("address", ['al"ice@example.org', "al'ice@example.org", "al\\ice@example.org", "a\nb@x.org"])
def test_what_could_end_a_quotation_is_nobody(address: str) -> None:
    words = cannot(lambda: chat_user(CHAT_USER, replace(ALICE, address=address)))
    assert words.startswith("on_revoke.chat_user makes no chat user of ")


# ---- ejabberd --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "count"), [({"num_resources": 0}, 0), ({"num_resources": 1}, 1), ({"num_resources": 3}, 1), (2, 1), (0, 0)]
)
def test_ejabberd_counts_resources_and_we_users(body: object, count: int) -> None:
    found, fake = kicked(said(200, body), replace(EJABBERD, url="http://127.0.0.1:PORT/api/"))
    assert found == count
    assert fake.asked.startswith(b"POST /api/kick_user HTTP/1.1\r\n")
    assert json.loads(fake.body) == {"user": "alice", "host": "chat.example.org"}
    assert base64.b64decode(fake.headers["authorization"].removeprefix("Basic ")) == b"kicker@a.org:hunter2-hunter2"


def test_ejabberd_by_token_and_by_address() -> None:
    plain = replace(EJABBERD, user="", password=None)
    assert "authorization" not in kicked(said(200, 0), plain)[1].headers
    by_token = replace(plain, token=Secret("t0ken"))
    assert kicked(said(200, 0), by_token)[1].headers["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said(401), "does not accept our password or token (401); compare on_revoke with ejabberd's"),
        (said(403), "does not let us kick (403); allow kick_user in its api_permissions"),
        (said(404), "has no kick_user at url (404); write the URL of mod_http_api"),
        (said(302, {}, "location: http://127.0.0.1:1/"), "answered 302; see its log"),
        (said(500, b"hunter2-hunter2"), "answered 500; see its log"),
        (
            said(200, b"<html>hunter2-hunter2"),
            "answered something else than a number of sessions; write the URL of mod_http_api",
        ),
        (
            said(200, {"num_resources": "hunter2-hunter2"}),
            "answered something else than a number of sessions; write the URL of mod_http_api",
        ),
    ],
)
def test_ejabberd_refusing(answer: bytes, words: str) -> None:
    seen = cannot(lambda: kicked(answer, EJABBERD))
    assert seen.startswith("ejabberd at http://127.0.0.1:")
    assert seen.partition(" at ")[2].partition(" ")[2] == words


# ---- the webhook -----------------------------------------------------------------------------------


def test_a_webhook_is_signed() -> None:
    before = int(time.time())
    found, fake = kicked(said(200, {"kicked": 1}), HOOK)
    assert found == 1
    assert fake.asked.startswith(b"POST /hook?hunter2-hunter2 HTTP/1.1\r\n")
    message = json.loads(fake.body)
    stamp = int(fake.headers["webhook-timestamp"])
    assert before <= stamp <= time.time()
    assert message == {
        "event": "kick",
        "id": fake.headers["webhook-id"],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp)),
        "account": "alice@example.org",
        "chat_user": "alice@example.org",
    }
    assert fake.headers["content-type"] == "application/json"
    assert fake.headers["webhook-signature"] == signature(KEY, fake.headers["webhook-id"], stamp, fake.body)
    assert kicked(said(200), HOOK)[1].headers["webhook-id"] != fake.headers["webhook-id"]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example that the specification's libraries are tested with."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (said(200, {"kicked": 0}), 0),
        (said(202, {"kicked": 2}), 2),
        (said(204, b""), None),
        (said(200, b"ok"), None),
        (said(200, [1]), None),
        (said(200, {"kicked": True}), None),
        (said(200, {"kicked": -1}), None),
        (said(200, {"kicked": "1"}), None),
    ],
)
def test_a_webhook_may_say_how_many(answer: bytes, count: int | None) -> None:
    assert kicked(answer, HOOK)[0] == count


@pytest.mark.parametrize("status", [301, 400, 410, 500])
def test_a_webhook_that_was_not_delivered(status: int) -> None:
    assert cannot(lambda: kicked(said(status, {"kicked": 1}), HOOK)).endswith(f" answered {status}; see its log")


# ---- the connection --------------------------------------------------------------------------------


UNREACHABLE = "cannot be reached; see whether it runs, and whether the core may use the network"


def test_nobody_there() -> None:
    words = cannot(lambda: asyncio.run(make(replace(HOOK, url="http://127.0.0.1:9/"))(ALICE)))
    assert words == f"the webhook at http://127.0.0.1:9 {UNREACHABLE}"


def test_a_name_that_is_none() -> None:
    words = cannot(lambda: asyncio.run(make(replace(HOOK, url="http://nobody.invalid/"))(ALICE)))
    assert words == f"the webhook at http://nobody.invalid {UNREACHABLE}"


def test_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WITHIN", 0.3)
    assert cannot(lambda: kicked(None, HOOK)).endswith(" did not answer within 0.3 s; see its log")


def test_one_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for the whole of it, not for each byte."""
    monkeypatch.setattr(http, "WITHIN", 0.5)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for byte in said(200, {"kicked": 1}, *["x: y"] * 20):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.1)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            await make(replace(HOOK, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))(ALICE)

    assert cannot(lambda: asyncio.run(main())).endswith(" did not answer within 0.5 s; see its log")


def test_an_endless_answer() -> None:
    answer = said(200, b"x" * (MAX_ANSWER + 1))
    words = cannot(lambda: kicked(answer, HOOK))
    assert words.endswith(" answered more than 65536 bytes; see whether url is the right one")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"])
def test_something_else(answer: bytes) -> None:
    words = cannot(lambda: kicked(answer, HOOK))
    assert words.endswith(" broke the connection off (RemoteProtocolError); see its log")


def by_tls(certificates: Certificates, ca: Path | None, host: str) -> int | None:
    async def main() -> int | None:
        context = http.ssl.SSLContext(http.ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        fake = Fake(said(200, {"kicked": 1}))
        async with await asyncio.start_server(fake.speak, host, 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            return await make(replace(HOOK, url=f"https://{host}:{port}/", ca=ca))(ALICE)

    return asyncio.run(main())


def test_the_certificate_counts(certificates: Certificates, tmp_path: Path) -> None:
    assert by_tls(certificates, certificates.ca, "127.0.0.1") == 1
    words = cannot(lambda: by_tls(certificates, None, "127.0.0.1"))
    assert "has no certificate to trust: unable to get local issuer certificate; compare url and ca" in words
    words = cannot(lambda: by_tls(certificates, certificates.ca, "127.0.0.2"))
    assert "has no certificate to trust: IP address mismatch, certificate is not valid for '127.0.0.2'" in words
    words = cannot(lambda: by_tls(certificates, tmp_path / "gone.pem", "127.0.0.1"))
    gone = f"on_revoke.ca {tmp_path}/gone.pem cannot be used: No such file or directory"
    assert words == f"{gone}; name the CA in PEM form"


def test_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert kicked(said(200, {"kicked": 1}), HOOK)[0] == 1


# ---- Prosody's socket ------------------------------------------------------------------------------

OPENED = b"<?xml version='1.0'?><stream:stream id='' xmlns='xmpp:prosody.im/admin'>"


def shell(path: Path, answer: bytes | None) -> tuple[int | None, bytes]:
    async def main() -> tuple[int | None, bytes]:
        asked = b""

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            try:
                asked = await reader.readuntil(b"</stream:stream>")
                if answer is None:
                    await reader.read()
                else:
                    writer.write(answer)
            finally:
                writer.close()

        async with await asyncio.start_unix_server(speak, path):
            return await make(ProsodyKick(path, CHAT_USER))(ALICE), asked

    return asyncio.run(main())


@pytest.mark.parametrize(("sessions", "count"), [(0, 0), (1, 1), (12, 1)])
def test_prosody_counts_sessions_and_we_users(tmp_path: Path, sessions: int, count: int) -> None:
    answer = OPENED + f"<repl-result>OK: Total: {sessions} sessions closed</repl-result>".encode()
    found, asked = shell(tmp_path / "s", answer)
    assert found == count
    assert b'<repl-input>c2s:close("alice@chat.example.org", "Sign in again", "reset")</repl-input>' in asked


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            OPENED + b"<repl-result type='error'>No</repl-result>",
            "did not run the command; enable admin_shell",
        ),
        (b"", "gave no answer to a command; see whether it is Prosody's"),
        (b"220 smtp\r\n", "gave no answer to a command; see whether it is Prosody's"),
        (b"x" * (2 * MAX_ANSWER + 1), "gave no answer to a command; see whether it is Prosody's"),
    ],
)
def test_prosody_refusing(tmp_path: Path, answer: bytes, words: str) -> None:
    seen = cannot(lambda: shell(tmp_path / "s", answer))
    assert seen.startswith(f"Prosody's admin socket {tmp_path}/s {words}")


def test_prosody_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    kick = make(ProsodyKick(path, CHAT_USER))
    where = f"Prosody's admin socket {path}"
    gone = f"{where} is not there; enable admin_shell, and set admin_socket to that path"
    assert cannot(lambda: asyncio.run(kick(ALICE))) == gone
    path.touch()
    assert cannot(lambda: asyncio.run(kick(ALICE))).startswith(f"{where} cannot be used (Connection refused); see")
    path.unlink()
    monkeypatch.setattr(prosody, "WITHIN", 0.3)
    assert cannot(lambda: shell(path, None)) == f"{where} did not answer within 0.3 s; see Prosody's log"


def test_prosody_closed_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    async def closed(*arguments: object, **options: object) -> Awaitable[None]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", closed)
    words = cannot(lambda: asyncio.run(make(ProsodyKick(Path("/s"), CHAT_USER))(ALICE)))
    assert words == "Prosody's admin socket /s is closed to us; join its group, and set umask in Prosody"


# ---- what it costs ---------------------------------------------------------------------------------


def test_a_core_without_chat_does_not_load_http() -> None:
    program = "import sys, proxy.chat.kickers, proxy.config.on_revoke; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
