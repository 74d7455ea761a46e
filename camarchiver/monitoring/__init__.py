"""Metrics, notifications and pings about runs; it knows nothing of their use cases."""
