"""The program's own command line: one file for each subcommand."""
