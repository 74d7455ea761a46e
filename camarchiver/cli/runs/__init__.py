"""What each command adds to the sequence of its run (`template`); watch, record and page have their own."""
