"""Prosody's admin shell on its unix socket (mod_admin_shell), command c2s:close: every session of one user.

What `prosodyctl shell` speaks: an XML stream that carries lines of Lua, and their results. Tried with 0.12. Debian has
no other way in from outside; docs/backends/prosody.md has the lines of its configuration.
"""

from __future__ import annotations

import asyncio
import re

from proxy.chat.kick import MAX_ANSWER, WITHIN, CannotKick, Kick, chat_user
from proxy.config.settings import ProsodyKick
from proxy.domain.model import Account

_OPEN = "<stream:stream xmlns='xmpp:prosody.im/admin' xmlns:stream='http://etherx.jabber.org/streams'>"
_CLOSE = "</stream:stream>"
_COMMAND = '<repl-input>c2s:close("{user}", "Sign in again", "reset")</repl-input>'
"""The stream error is what Prosody itself gives when a password has changed (RFC 6120, 4.9.3.16): programs log in
anew. `user` is a chat_user, so it has no quotation mark in it."""
_DONE = re.compile(rb"<repl-result>OK: Total: ([0-9]+) sessions closed</repl-result>$")


def make(settings: ProsodyKick) -> Kick:
    where = f"Prosody's admin socket {settings.socket}"

    async def kick(account: Account) -> int:
        asked = _OPEN + _COMMAND.format(user=chat_user(settings.chat_user, account)) + _CLOSE
        try:
            async with asyncio.timeout(WITHIN):
                answer = await _ask(settings, asked.encode())
        except TimeoutError:
            raise CannotKick(where, f"did not answer within {WITHIN:g} s", "see Prosody's log") from None
        except FileNotFoundError:
            raise CannotKick(where, "is not there", "enable admin_shell, and set admin_socket to that path") from None
        except PermissionError:
            raise CannotKick(where, "is closed to us", "join its group, and set umask in Prosody") from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise CannotKick(where, "gave no answer to a command", "see whether it is Prosody's") from None
        except OSError as error:
            raise CannotKick(where, f"cannot be used ({error.strerror})", "see whether Prosody runs") from None
        done = _DONE.search(answer)
        if done is None:
            raise CannotKick(where, "did not run the command", "enable admin_shell, and see Prosody's log")
        return min(1, int(done[1]))  # sessions of one user

    return kick


async def _ask(settings: ProsodyKick, asked: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(settings.socket, limit=MAX_ANSWER)
    try:
        writer.write(asked)
        return await reader.readuntil(b"</repl-result>")
    finally:
        writer.close()
