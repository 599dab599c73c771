"""The web UI: HTML pages to browse, search, compare and upload frameworks."""
