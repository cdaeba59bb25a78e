"""Starting from what another network learned."""
