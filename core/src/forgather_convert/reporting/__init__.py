"""Reports of a conversion, as JSON for other programs and as a web page for people."""
