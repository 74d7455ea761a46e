"""Small verified archives of security-camera clips, and a record of where every clip went."""

__version__ = "0.1.0"
