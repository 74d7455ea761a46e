"""Detects motion in decoded pictures; it knows nothing of cameras and files."""
