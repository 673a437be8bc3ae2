"""The command line: commands, their arguments, and their output."""
