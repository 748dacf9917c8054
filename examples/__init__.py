"""Real models from real data, and the scripts that build, serve and check them."""
