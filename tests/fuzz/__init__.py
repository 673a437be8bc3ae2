"""Inputs that nobody means: whatever is in them, a user reads one line, and nothing is written elsewhere."""
