"""The conversation between front workers (and the supervisor) and the core: messages, client, server."""
