"""Walks the trees and gathers facts; which files are removed is decided in policy/."""
