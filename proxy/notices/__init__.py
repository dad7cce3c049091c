"""What people are told: put into the store's outbox with the change it is about, and sent by the portal.

telling.py    into the outbox, by whoever changes something (the core too)
old_programs.py   which refused programs their person is told of
digest.py     what they were not told at once, once a week
outbox.py     what is due is sent: the loop of the portal process
words.py      what notices say
mailer.py     a mail to the server of portal.mail
web_push.py   a message to a browser;  encryption.py  so that only that browser can read it
"""
