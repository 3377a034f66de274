"""The host the daemon runs on: `forwarder node` gives it an interface, addresses and firewall rules, and takes them away again.

`plan` says what there is to be, `changes` what is to be done for that, `links` does it; `ruleset` (nftables) and `iptables` are
the rules, `programs` loads them, `undertaking` is the order of things. `blocking` finds whoever drops our traffic in what
`nft_listing` and `iptables_listing` have read; `status` and `telling` say how all is. `resolv_conf` reads that file, for others
too. Nothing here answers queries, and no worker imports it.
"""
