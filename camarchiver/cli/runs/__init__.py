"""What each command adds to the sequence of its run (`template`); `watch`, `record`, `page` have their own."""
