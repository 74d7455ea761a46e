"""The small files that outlive a run: holds, failures, runs, the volume marker."""
