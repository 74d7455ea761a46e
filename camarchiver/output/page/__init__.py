"""What the pages of a site look like: templates, drawings, the data of their scripts. It decides nothing."""
