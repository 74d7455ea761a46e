"""What each command adds to the course of its run, which is the same for all (`template`)."""
