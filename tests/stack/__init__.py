"""The embedded servers for real, in homes of their own."""
