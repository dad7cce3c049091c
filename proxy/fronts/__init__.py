"""Where clients connect. A connection passes these files in this order:

    listeners    accepts, and stops accepting before descriptors run out
    connection   PROXY header, TLS, then drives the protocol's front machine up to a login attempt
    handshake    a client's TLS handshake, after client_hello has looked at what it offers
    attempt      shape check, the question to the core, refusals released a constant time after the attempt
    login        connects to the backend and drives its machine; probes use it too
    relay        moves bytes between the two legs for the life of the session
    sessions     who is logged in here: listed, counted, cut

`descriptor` is one end of a connection, a socket with TLS on it or not, and nothing else reads or writes one; `sockets`
sets options and `tls` makes contexts for it. `protocols` is the table of what differs per protocol, `backends` what is
known of the servers behind, `refusals` counts what costs no question, and `worker` holds what the connections of one
process share.
"""
