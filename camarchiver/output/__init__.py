"""The only place that knows how anything looks: text and JSON. It decides nothing."""
