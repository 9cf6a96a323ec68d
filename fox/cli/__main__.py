"""``python -m fox.cli`` runs ``fox``."""

from fox.cli.main import main

if __name__ == "__main__":
    main()
