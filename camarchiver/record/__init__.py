"""Records motion from a camera; it knows nothing of archives."""
