"""What a network is trained for. Tasks do not import each other."""
