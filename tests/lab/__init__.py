"""The laboratory: real clients, a real kernel, real servers and one scripted upstream, for the tests.

Nothing here asserts how the forwarder behaves; the scenarios do. Always holds: traffic stays on loopback or in network
namespaces the laboratory made itself, and whatever was started or made is ended and removed by the `with` that made it.
"""
