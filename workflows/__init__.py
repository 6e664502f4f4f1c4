"""The order of things, waiting and timers. No rules, no I/O."""
