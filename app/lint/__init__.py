"""What a publisher would want to know of a CASE package, without a server or a database."""
