"""One deep module per outside system."""
