"""How fast the server is, beside the limits of what it stands on, measured in one run."""
