"""One file for each command that shows something and changes no clip."""
