"""Where a study is kept: reading its address, opening it, and excluding and seeing other processes."""
