"""What may be asked of any list: no web, no SQL."""
