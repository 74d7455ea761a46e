"""Examines the machine, the software and the storage, and names remedies; it changes nothing that stays."""
