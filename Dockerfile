# The daemon and its commands, `forwarder node` among them, in one image. `make image` builds it; docs/kubernetes.md and
# docs/hosts.md run it. tests/test_dockerfile.py takes these very steps in a bare root.

# CPython 3.11 on Debian 12: what every test and every figure of this project was made with. The official image is built with
# profile-guided optimisation and link-time optimisation, worth as much as any trick in the code; alpine's has another libc, for
# which not every dependency has a wheel.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS wheels
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY forwarder forwarder
RUN python3 -m pip wheel --no-cache-dir --wheel-dir=/wheels .

FROM python:${PYTHON}
# nft for `forwarder node`; setcap for the interpreter below.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends nftables libcap2-bin \
    && rm -rf /var/lib/apt/lists/*
# A user by number, so that Kubernetes sees that it is not root; always the same, for the firewall rules of `node.intercept` and
# the instance before us know it by that number. /run/forwarder is for the control socket, where nothing is mounted there.
RUN groupadd --gid 65532 forwarder \
    && useradd --uid 65532 --gid 65532 --no-create-home --shell /usr/sbin/nologin forwarder \
    && install -d -o 65532 -g 65532 -m 700 /run/forwarder
# Wheels only: no compiler, no index, no pip in what remains. They are lent by the stage before, not copied into a layer.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python3 -m venv --without-pip /opt/forwarder \
    && python3 -m pip --python /opt/forwarder/bin/python install --no-cache-dir --no-index --find-links=/wheels forwarder
# Port 53 for a user who is not root. A capability that a container is given reaches such a user's program only if its file may
# have it. `p` and not `ep`: where a container is not given it (the one for `node up`), the program starts all the same.
RUN setcap cap_net_bind_service=p "$(readlink -f /opt/forwarder/bin/python)"

ENV PATH=/opt/forwarder/bin:$PATH \
    PYTHONUNBUFFERED=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="forwarder" \
      org.opencontainers.image.description="A caching DNS forwarder for one node" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

USER 65532:65532
WORKDIR /
# Drains: what is in progress is answered, 3 s at most.
STOPSIGNAL SIGTERM
# For docker and podman; Kubernetes has probes of its own. Another `observe.http` wants another line.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["/opt/forwarder/bin/python", "-I", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 9253, timeout=2); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/forwarder/bin/forwarder"]
CMD ["run", "--config", "/etc/forwarder/forwarder.yaml"]
