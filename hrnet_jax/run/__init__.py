"""What makes a run go on whatever happens: its directory, its log, its being stopped, its incidents."""
