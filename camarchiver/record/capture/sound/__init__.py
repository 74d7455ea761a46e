"""The sound of cameras: what a clip can hold, and its place among the pictures."""
