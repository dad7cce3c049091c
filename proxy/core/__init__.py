"""The core: the only process with pepper, signing keys and backend credentials.

service.py      composition: builds everything below from a configuration, starts, reloads, stops
conversation.py what workers say on the link -> questions, sessions, log lines
claims.py       what of a worker's words is written down, and how
decide.py       a login attempt -> a verdict; memory.py and verifying.py make the warm path cheap
kicking.py      tells chat servers to end theirs
cutting.py      ends sessions everywhere, and knows that they are ended (processes.py: or that their worker is)
takeover.py     sessions that outlived a core: what stays, what must go; census.py counts what runs
reports.py      log lines, audit, history of refusals; counting.py what is summed up first
write_behind.py what reaches the store in batches, never on the login path
expiry.py       ends app passwords whose time has come; retention.py: audit records
"""
