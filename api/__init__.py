"""HTTP's door: who is asking, shape in, shape out, status code."""
