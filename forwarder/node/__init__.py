"""The host the daemon runs on: so far its resolv.conf. Nothing here answers queries, and no worker imports it."""
