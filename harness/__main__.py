"""``python -m harness`` is ``s2s``."""

from harness.cli.app import main

if __name__ == "__main__":
    main()
