"""What people are told: put into the store's outbox with the change it is about, and sent by the portal.

telling.py    into the outbox, by whoever changes something (the core too)
"""
