"""The Postgres server itself: embedded clusters, clones, backups, migrations and diagnosis."""
