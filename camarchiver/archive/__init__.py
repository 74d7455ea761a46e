"""Encodes clips, verifies and publishes their archives, and removes their sources."""
