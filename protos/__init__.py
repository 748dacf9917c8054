"""Tools around the contracts in this folder: `python -m protos.generate` and `python -m protos.lint`."""
