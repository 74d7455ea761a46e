"""Copies held clips with their history into a folder for others; it removes nothing."""
