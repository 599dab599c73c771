"""``python -m case_server``: the command line."""

from .cli import main

main()
