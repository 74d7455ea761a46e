"""Answers questions about the trees; only `verify` writes, and only its findings."""
