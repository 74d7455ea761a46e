"""Whether an archive shows what its source shows: pure comparisons of what was read."""
