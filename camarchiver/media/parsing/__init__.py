"""Reads files' packets and pictures with PyAV, in a worker process that a bad file may take down."""
