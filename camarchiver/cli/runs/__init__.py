"""Runs commands that change something: plan, show, ask, do, report, notify."""
