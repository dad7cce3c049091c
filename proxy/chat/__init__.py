"""How a chat server is told to end a person's sessions, which outlive the Bind that let them in: one way a file.

kick.py      the contract, and what every way needs
kickers.py   which way `on_revoke` names
http.py      one POST, bounded; a home of httpx
ejabberd.py  prosody.py  webhook.py

Runs in the core only. A way is imported when a service account names it.
"""
