"""Cameras that are attached to the machine, and the encoder for what they send uncompressed."""
