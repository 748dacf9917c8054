"""The history of the catalogue's tables, run at every start."""
