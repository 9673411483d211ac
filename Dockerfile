# weir in a container: linux/amd64 and linux/arm64, from one source, with BuildKit (Docker 23 and later, Podman 4 and later).
#
#   docker build -t weir .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/upstreams.d:/etc/weir/upstreams.d:ro" weir
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example.com/weir --push .

# The exact versions that this was made for; a tag can still be moved. For a build that is the same every time, pin what
# your registry has: --build-arg RUST=rust@sha256:… --build-arg DEBIAN=debian@sha256:…
ARG RUST=rust:1.95.0-bookworm
ARG DEBIAN=debian:12.12-slim

# The Rust image has what ring and mimalloc are compiled with: a C compiler.
FROM ${RUST} AS build
# `dist` is what releases are built with: --build-arg PROFILE=dist
ARG PROFILE=release
# What `weir --version` says of the commit and its date; .git is no part of the context. For a release:
# --build-arg COMMIT="$(git rev-parse HEAD)" --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
ARG COMMIT
ARG SOURCE_DATE_EPOCH
WORKDIR /src
COPY . .
# Dependencies are downloaded and compiled once and kept in the caches. A cache is no part of the image: hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    WEIR_COMMIT="$COMMIT" cargo build --profile "$PROFILE" --locked --bin weir && \
    cp "target/$PROFILE/weir" /usr/local/bin/weir

# The same Debian as the build stage, for the same glibc. Stdio upstreams run inside this container: those that need
# Node or Python need an image made from this one, with their runtime installed. With HTTP upstreams only, nothing but
# weir runs here.
FROM ${DEBIAN}
# The roots of trust for https upstreams: weir takes the platform's. For a CA of your own, mount it into
# /usr/local/share/ca-certificates and run update-ca-certificates in an image made from this one.
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/* && \
    install -d -o 10001 -g 10001 -m 700 /var/lib/weir && \
    install -d /etc/weir/upstreams.d
COPY --from=build /usr/local/bin/weir /usr/local/bin/weir
COPY config/docker/weir.yaml /etc/weir/weir.yaml
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 10001:10001
WORKDIR /var/lib/weir
EXPOSE 8000
# No curl in here: bash asks over its own sockets. `GET /healthz` says that the process is up, whatever its upstreams do;
# for "may get traffic", ask `GET /readyz` from outside.
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
# weir is the first process and ends at SIGTERM, its stdio upstreams with it.
ENTRYPOINT ["weir"]
CMD ["serve", "--config", "/etc/weir/weir.yaml"]
