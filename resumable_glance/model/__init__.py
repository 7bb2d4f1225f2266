"""Records, states, commands, ranges and digests. Pure: no I/O, no clock, no randomness."""
