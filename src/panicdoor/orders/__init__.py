"""What is signed, and who may sign: formats and keys, without any I/O."""
