"""Plans for clips that were archived before: archives to repair or to encode again. It changes nothing."""
