"""Runs the recorders, in this process or in one for each camera, and makes one result of them."""
