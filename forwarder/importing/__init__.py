"""`forwarder import-corefile`: other programs' configuration into ours, and a comment for what could not be carried over.

Nothing here opens a file but the one that was named, and no worker imports it. The way of a file: `command` reads it,
`recognising` says what it is, and `sources` keeps its lines, which every complaint and comment names. A Corefile becomes
words (`tokens`), the words server blocks (`blocks`), with the `__PILLAR__` words replaced before (`pillars`); `corefile` says
what the blocks mean, with `caching`, `forwarding`, `pinning` and `listening` for the plugins that have settings of their own,
`routing` for who asks whom, and `remarks` for those that have none. ConfigMaps are found in YAML by `configmaps`, those of
kube-dns read by `kube_dns`; `dnsmasq` reads dnsmasq.conf and `dnsmasq_servers` its upstreams. All come to a `drafts.Draft`, and
`writing` makes YAML of that.
"""
