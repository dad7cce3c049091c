"""How programs find the fronts and are set up: pure functions from the configuration to documents.

servers.py            what is told to programs at all: host, port, TLS, name
autoconfig.py  autodiscover.py  pacc.py  dns.py      what programs look up by themselves, the same for every address
mobileconfig.py  thunderbird_android.py  deltachat.py     one app password put into one program
instructions.py       the same in words, for people
"""
