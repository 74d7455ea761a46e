"""Pure decisions: what is archived, what is removed, in which order. No disk, no clock."""
