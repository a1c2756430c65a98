"""The formats of what is kept, without any I/O."""
