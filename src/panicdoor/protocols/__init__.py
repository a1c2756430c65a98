"""What the door speaks, without any I/O: bytes and parts go in, requests and bytes come out."""
