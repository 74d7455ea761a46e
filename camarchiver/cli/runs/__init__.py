"""What each command gives to the course of its run, which is the same for all (`template`)."""
