"""Generated code of penstock's own contracts."""
