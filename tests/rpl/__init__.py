"""DNS behaviour told in scenario files that an operator can write: real worker, real sockets, time that passes when it is told.

    words        what a line is made of: words, durations, ranges; all errors name file and line
    statements   what a scenario can say, a class for each sentence
    parser       lines to statements
    virtual      an event loop whose clock stands still until it is told
    answers      what a scripted upstream says, as octets
    upstreams    the scripted upstreams
    clients      who asks, and what every response must fulfil
    claims       what a scenario expects, held against what was seen
    player       one scenario from its first line to the engine's own checks at its end

The language stands in `README.md` beside this file, the scenarios in `scenarios/`.
"""
