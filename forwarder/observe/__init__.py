"""What the daemon shows of itself: counters (worker side); metrics, pages and figures for people (supervisor side)."""
