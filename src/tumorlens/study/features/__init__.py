"""Thirteen first-order and texture features of a grey picture, and tables of them."""
