"""Removes what the policy no longer keeps, and restores from the trash; the rules are in `policy`."""
