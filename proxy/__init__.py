"""sidegate: app passwords in front of mail, directory and chat servers.

The map of this package. A login travels down this list and its verdict back up:

    fronts/    where clients connect: listeners, descriptors and TLS, driver, relay, live sessions
    wire/      how we speak: protocol machines without I/O (bytes in -> events out)
    link/      how a front worker asks the core, and how the core cuts sessions
    domain/    what we decide: names, app passwords, limits, the gatekeeper (pure: no I/O, no clock)
    backends/  what we present to the server behind: one login strategy a file, run in the core
    chat/      how a chat server behind a directory is told to end a person's sessions
    directory/ who the accounts are, and whether an account password is right
    factors/   what a person proves besides the account password: one kind a file
    store/     what we remember: schema, queries, hashing, migrations
    notices/   what people are told at once, and how it reaches them
    admin/     what operators and people may do, with permission and audit
    onboarding/ how programs find the fronts and are set up: autoconfig, profiles, QR codes, DNS records
    portal/    pages and API;  cli/ the sidegate command;  demo/ everything on loopback

supervisor.py starts the children, whose composition roots are front_worker.py, core.py and
portal_process.py. docs/architecture.md follows one login through all of it.
"""

__version__ = "0.1.0"
