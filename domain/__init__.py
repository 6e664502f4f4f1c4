"""Every rule of the help desk as functions of (state, event, now). No I/O, clock or randomness."""
