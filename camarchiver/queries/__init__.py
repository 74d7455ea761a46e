"""Answers questions about trees without changing them: status, history, gaps, verification."""
