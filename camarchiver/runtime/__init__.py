"""The process: clock, signals, logging, progress, systemd."""
