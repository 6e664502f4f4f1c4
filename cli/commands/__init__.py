"""Names, options and help of the commands that come in groups; see `cli/app.py`."""
