"""Walks the trees and gathers the facts about each file; it decides nothing."""
