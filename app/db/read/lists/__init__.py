"""Lists: filters, sorting, search and pages, with the numbers of items that they report."""
