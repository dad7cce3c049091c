"""`sidegate demo`: everything on loopback, with embedded backends, for trying it out in five minutes."""
