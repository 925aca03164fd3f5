"""Everything at once against the real server: every request gets exactly one answer."""
