"""What file names say, and which names files get. Pure."""
