"""What a search would do and take, told without running it."""
