"""Use cases, one transaction each; what HTTP and Temporal both call."""
