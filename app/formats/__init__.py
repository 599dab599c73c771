"""Read and write frameworks as CSV, XLSX and JSON Lines."""
