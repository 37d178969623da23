"""What a run is asked, what it leaves behind, and what it may depend on: the ground that every room stands on."""
