"""Where clients connect. A connection passes these files in this order:

    listeners    accepts, and stops accepting before descriptors run out
    connection   PROXY header, TLS, then drives the protocol's front machine up to a login attempt
    attempt      shape check, the question to the core, refusals released a constant time after the attempt
    login        connects to the backend and drives its machine; probes use it too
    relay        moves bytes between the two legs for the life of the session
    sessions     who is logged in here: listed, counted, cut

`descriptor` is the only module that touches sockets and TLS objects, `tls` makes the contexts, `protocols` is the
table of what differs per protocol, and `worker` holds what the connections of one process share.
"""
