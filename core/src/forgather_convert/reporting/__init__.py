"""What a conversion did, for other programs and as a page for people."""
