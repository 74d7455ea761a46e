"""The values that every layer shares: clips, reasons, plans, steps, reports. Pure."""
