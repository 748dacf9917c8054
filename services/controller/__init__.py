"""The control plane: the catalogue of what exists and is wanted, and everything that changes it."""
