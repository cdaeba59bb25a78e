"""Thirteen first-order and texture features of a gray image, and tables of them."""
