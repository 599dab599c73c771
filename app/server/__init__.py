"""Start a server process: settings, socket, database, uvicorn and its workers."""
