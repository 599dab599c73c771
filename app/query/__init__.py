"""Query parameters of lists: fields, filters, sorting and paging. No web framework, no SQL."""
