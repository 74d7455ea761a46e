"""One file for each command that only answers."""
