"""What moves in the clips that are archived: pictures in the cache, motion in the journal, chapters."""
