"""Everything that waits: the supervisor, a file for each role, and what they share."""
