"""What the door speaks, without any I/O: bytes go in, requests come out, parts go in, bytes come out."""
