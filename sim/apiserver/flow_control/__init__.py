"""Flow control: who is served now, who waits, who is refused; one file a kind."""
