"""How we speak: protocol machines without I/O. Bytes in, events out; the driver (proxy/fronts) does the rest.

events.py says what machines and driver tell each other. Each protocol has the same file names:
grammar.py (bytes <-> meaning), front.py (we are the server), backend.py (we are the client),
replies.py (every answer as one table) and, where the conversation stays framed for life, relay.py.
"""
