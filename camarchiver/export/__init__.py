"""Copies held clips with their history into a folder for other people; it removes nothing."""
