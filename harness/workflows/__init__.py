"""The work of each command, without the command line."""
