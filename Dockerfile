# The image of productlane-gateway: 65532 runs it, on a read-only root, and nothing in it needs a shell.
#
#   buildah bud --format docker -t productlane-gateway .          docker build -t productlane-gateway .
#
# With what OpenTelemetry's tracing needs: --build-arg EXTRAS=tracing
# Pin the base for a release: --build-arg PYTHON_DIGEST=@sha256:…
ARG PYTHON_DIGEST=""

FROM python:3.13-slim${PYTHON_DIGEST} AS build
# For those who install from a mirror; pip reads it from the environment, and it stays in this stage.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
# Nothing, or the extra of pyproject.toml that is installed too.
ARG EXTRAS=""
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/tracing.txt requirements/
RUN python -m venv /build && \
    /build/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt && \
    python -m venv --without-pip /opt/gateway && \
    python -m pip --python /opt/gateway/bin/python install --quiet --no-compile --require-hashes -r "requirements/${EXTRAS:-run}.txt"
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY gateway gateway
# The bytecode says by itself that it is good: mtimes do not survive every copy, and the root cannot be written to.
RUN /build/bin/python -m hatchling build -t wheel -d /dist && \
    sha256sum /dist/*.whl >/dist/wheel.txt && \
    sed -i -E 's/^(\S+)\s+(.*)$/\2 --hash=sha256:\1/' /dist/wheel.txt && \
    python -m pip --python /opt/gateway/bin/python install --quiet --no-compile --no-deps --require-hashes -r /dist/wheel.txt && \
    python -m compileall -q -j0 --invalidation-mode unchecked-hash /opt/gateway/lib
# Wheels carry debug symbols: three quarters of what their libraries weigh.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils && \
    find /opt/gateway -name '*.so' -exec strip --strip-unneeded {} +

# The base without what is of no use to a program that is installed already: pip, apt with its perl, and every set-uid
# bit. dpkg's list of what is left stays true, for those who scan it. The base ships its library without bytecode, which
# on a read-only root could never be kept: compiled here, a start takes a third of the time.
FROM python:3.13-slim${PYTHON_DIGEST} AS thin
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/pydoc* /usr/local/bin/*-config /usr/local/include \
        /usr/local/lib/python3.13/site-packages/* /usr/local/lib/python3.13/ensurepip /usr/local/lib/pkgconfig \
        /usr/local/lib/python3.13/idlelib /usr/local/lib/python3.13/pydoc_data /usr/local/lib/python3.13/tkinter \
        /usr/local/lib/python3.13/turtledemo /usr/local/lib/python3.13/turtle.py && \
    python -m compileall -q -j0 --invalidation-mode unchecked-hash /usr/local/lib/python3.13 && \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} + && \
    groupadd --gid 65532 gateway && \
    useradd --uid 65532 --gid 65532 --no-create-home --no-log-init --home-dir / --shell /usr/sbin/nologin -K UID_MAX=65532 gateway && \
    { dpkg-query -W -f '${Package}\n' apt 'libapt-pkg*' perl-base 'gpgv*' sqv >/tmp/packages 2>/dev/null || true; } && \
    xargs -a /tmp/packages dpkg --purge --force-depends --force-remove-essential --force-remove-protected && \
    rm -rf /tmp/packages /var/lib/apt /var/cache/* /var/log/*
COPY --from=build /opt/gateway /opt/gateway

# One layer, so that what was removed is not in it.
FROM scratch
# hadolint ignore=DL3067
COPY --from=thin / /
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG BASE_NAME=docker.io/library/python:3.13-slim
LABEL org.opencontainers.image.title="productlane-gateway" \
      org.opencontainers.image.description="A reverse auth proxy for the Productlane v2 API: callers never hold a key" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_NAME}"
ENV PATH=/opt/gateway/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
USER 65532:65532
WORKDIR /
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# For engines without probes of their own; Kubernetes ignores it and asks /livez and /readyz itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/opt/gateway/bin/python", "-I", "-c", \
    "from http.client import HTTPConnection as C; c = C('127.0.0.1', 9090, timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
# -I: no variable of the environment and no folder but the image's own says what is imported.
ENTRYPOINT ["/opt/gateway/bin/python", "-I", "-m", "gateway"]
CMD ["serve"]
