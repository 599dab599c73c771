"""Upload of a package: staging, comparison, statements, change counts and the loss guard."""
