"""Answers questions about the trees; only `verify` writes: what it found, and how far it came."""
