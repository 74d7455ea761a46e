"""Limits of a valid clip, whatever its name, its header or its journal line says."""

from __future__ import annotations

LONGEST_SECONDS = 1e9
"""No clip lasts for thirty years."""
