"""The append-only record of everything done to a clip."""
