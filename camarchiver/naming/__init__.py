"""What file names mean, and how archives and clips are named. Pure."""
