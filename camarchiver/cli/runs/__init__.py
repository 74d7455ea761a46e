"""What each command adds to the sequence of its run, which is the same for all (`template`)."""
