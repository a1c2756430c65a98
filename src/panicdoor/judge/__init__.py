"""What the monitor decides by, without any I/O."""
