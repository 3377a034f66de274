"""What the daemon shows of itself: counters (worker side), metrics (supervisor side)."""
