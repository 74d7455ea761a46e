"""The only place that defines how output looks: text and JSON. It decides nothing."""
