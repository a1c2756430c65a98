"""What the door can do: the registry, and one file for each subject."""
