"""Metrics, notifications and pings about runs; it knows nothing about their use cases."""
