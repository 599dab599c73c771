"""Tables: the cells, columns and rows of spreadsheets, and the entities that they become."""
