"""What an evaluation looks like on a page and on paper."""
