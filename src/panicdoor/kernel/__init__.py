"""Everything that is asked of the kernel."""
