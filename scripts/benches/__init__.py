"""A file for each sub-command of `scripts/bench`, and what they share."""
