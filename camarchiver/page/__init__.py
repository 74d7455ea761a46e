"""A site of static pages that shows the footage: what it holds and which of its pages are outdated."""
