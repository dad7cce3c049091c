"""What we decide. Pure: no I/O, no clock, no randomness of its own (they are arguments)."""
