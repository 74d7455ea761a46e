"""A site of static pages that shows the footage: gathers its content, writes outdated pages, serves it."""
