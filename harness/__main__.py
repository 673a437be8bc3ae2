"""``python -m harness`` is ``s2s``."""

from harness.cli import main

if __name__ == "__main__":
    main()
