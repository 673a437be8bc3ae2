"""``python -m harness`` is ``s2s``."""

from harness.commands.cli import main

if __name__ == "__main__":
    main()
