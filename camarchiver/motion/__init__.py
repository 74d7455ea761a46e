"""Detects motion in decoded pictures; it knows nothing about cameras or files."""
