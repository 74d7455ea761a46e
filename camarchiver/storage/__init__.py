"""Durable files: atomic writes, locks, walking, filesystems. It knows nothing of clips' meaning."""
