"""A chat program: logs in, says presence, and stays until it is thrown out or its standard input ends.

Run by tests/peers/xmpp.py under Debian's own Python, which has slixmpp: `xmpp_client.py PORT CA JID`, the password as
the first line of standard input. Each line it prints is a state: `in`, then `kicked CONDITION` (the server's stream
error, or `closed`); or `not-authorized`; or `failed WHY`.
"""

import asyncio
import sys

import slixmpp


class Client(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password)
        self.ca_certs = ca
        self.ended = asyncio.get_event_loop().create_future()
        self.is_in = False
        self.add_event_handler("session_start", self.session_start)
        self.add_event_handler("failed_auth", lambda reason: self.end("not-authorized"))
        self.add_event_handler("stream_error", self.stream_error)
        self.add_event_handler("disconnected", lambda reason: self.end("kicked closed" if self.is_in else "failed"))
        self.add_event_handler("connection_failed", lambda reason: self.end(f"failed {reason}"))
        self.add_event_handler("ssl_invalid_chain", lambda reason: self.end(f"failed {reason}"))

    def session_start(self, event):
        self.send_presence()
        self.is_in = True
        print("in", flush=True)

    def stream_error(self, error):
        self.end(f"kicked {error['condition']}")

    def end(self, state):
        if not self.ended.done():
            self.ended.set_result(state)


async def main():
    port, ca, jid = sys.argv[1:]
    client = Client(jid, sys.stdin.readline().rstrip("\n"), ca)
    client.connect(("127.0.0.1", int(port)))
    left = asyncio.get_event_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([client.ended, left], return_when=asyncio.FIRST_COMPLETED)
    if client.ended.done():
        print(client.ended.result(), flush=True)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
