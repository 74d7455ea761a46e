"""What moves in the clips that are archived: thumbnails in the cache, motion in the journal, chapters."""
