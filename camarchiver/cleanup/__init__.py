"""Removes what the policy no longer keeps; restores from trash and off-site copies; rules are in `policy`."""
