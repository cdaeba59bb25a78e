"""`python -m tumorlens`."""

from tumorlens.cli import main

if __name__ == "__main__":
    main()
