"""The embedded servers, started from wheels and supervised."""
