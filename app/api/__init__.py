"""The HTTP API: routes, middleware and rendering."""
