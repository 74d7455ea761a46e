"""Reads packets from cameras of every kind; it knows nothing of motion and clips."""
