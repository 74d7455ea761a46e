"""Archives clips as they arrive: inotify, the queue of due clips, the loop."""
