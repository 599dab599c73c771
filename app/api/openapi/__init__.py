"""The OpenAPI documents of the profiles."""
