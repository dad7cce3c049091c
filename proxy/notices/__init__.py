"""What people are told: put into the store's outbox with the change it is about, and sent by the portal.

telling.py    into the outbox, by whoever changes something (the core too)
web_push.py   a message to a browser;  encryption.py  so that only that browser can read it
"""
