"""The plugin system: hook specifications, the base converter, discovery and hook calls."""
