"""Clips that are being recorded: which packets each of them gets."""
