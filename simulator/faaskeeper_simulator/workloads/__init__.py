"""What simulated clients do, each in the terms of one use of a coordination service."""
