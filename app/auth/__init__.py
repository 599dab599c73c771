"""Authentication and authorization: access tokens, their issuers, clients and scopes."""
