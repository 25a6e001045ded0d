"""What an operation costs, counted from the calls it makes. ``make bench`` prints the tables of docs/cost.md."""
