# The image of productlane-gateway. User 65532 runs it on a read-only root; it needs no shell.
#
#   buildah bud --format docker -t productlane-gateway .          docker build -t productlane-gateway .
#
# With OpenTelemetry's tracing: --build-arg EXTRAS=tracing
# With a pinned base, for a release: --build-arg PYTHON_DIGEST=@sha256:…
ARG PYTHON_DIGEST=""

FROM python:3.13-slim${PYTHON_DIGEST} AS build
# A mirror to install from. pip reads it from the environment; it stays in this stage.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
# Empty, or an extra of pyproject.toml to install as well.
ARG EXTRAS=""
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/tracing.txt requirements/
RUN python -m venv /build && \
    /build/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt && \
    python -m venv --without-pip /opt/gateway && \
    python -m pip --python /opt/gateway/bin/python install --quiet --no-compile --require-hashes -r "requirements/${EXTRAS:-run}.txt"
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY gateway gateway
# Python takes the bytecode without a look at its source: mtimes do not survive every copy, and the root is read-only.
RUN /build/bin/python -m hatchling build -t wheel -d /dist && \
    sha256sum /dist/*.whl >/dist/wheel.txt && \
    sed -i -E 's/^(\S+)\s+(.*)$/\2 --hash=sha256:\1/' /dist/wheel.txt && \
    python -m pip --python /opt/gateway/bin/python install --quiet --no-compile --no-deps --require-hashes -r /dist/wheel.txt && \
    python -m compileall -q -j0 --invalidation-mode unchecked-hash /opt/gateway/lib
# Wheels carry debug symbols: three quarters of the size of their libraries.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils && \
    find /opt/gateway -name '*.so' -exec strip --strip-unneeded {} +

# The base without tools that an installed program does not need: pip, apt with its perl, and every set-uid bit. dpkg's
# list of packages stays correct, for scanners. The base has its library without bytecode, and a read-only root could
# never keep any: compiled here, a start takes a third of the time.
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

# One layer, which does not contain the removed files.
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
# For engines without probes of their own. Kubernetes ignores it, and asks /livez and /readyz itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/opt/gateway/bin/python", "-I", "-m", "gateway", "health"]
# -I: Python imports from the image alone, whatever the environment and the working folder say.
ENTRYPOINT ["/opt/gateway/bin/python", "-I", "-m", "gateway"]
CMD ["serve"]
