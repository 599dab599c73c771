"""HTML for people: pages to browse, search, compare and upload frameworks."""
