"""rclone as an external program: found, started, asked; nothing outside this folder knows its API."""
