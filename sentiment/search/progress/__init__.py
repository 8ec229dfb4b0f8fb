"""How people and programs see a running study."""
