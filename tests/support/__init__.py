"""What the tests share: tiny models on disk, and ways to load and run them."""
