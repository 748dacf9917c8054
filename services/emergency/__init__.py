"""Changes a route past the controller: signs the next revision, and publishes it on the bus or at the routers themselves."""
