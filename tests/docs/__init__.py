"""docs: what README and docs show is what the program does."""
