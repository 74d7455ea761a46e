"""How plans, reports, lists and answers look: as text, as JSON, and as pages (HTML). It decides nothing."""
