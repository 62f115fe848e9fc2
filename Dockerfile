# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# Some crates build C and C++.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /querent
# The libraries take most of the time, so they are a layer of their own that only a change of the
# manifest or the lock file builds anew.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs benches/load.rs benches/overload.rs benches/rollout.rs \
        benches/training.rs \
    && cargo build --release --locked --bin querent \
    && rm -r src benches
COPY . .
# Without it cargo takes the files above for newer than those of the checkout.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin querent

FROM debian:12-slim
# Certificates for a rewriter, a database or a collector that is called over TLS.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/querent querent \
    && install -d -o querent -g querent /var/lib/querent /var/lib/querent/models
COPY --from=build /querent/target/release/querent /usr/local/bin/querent
USER 10001:10001
WORKDIR /var/lib/querent
ENV QUERENT__DATA__DIR=/var/lib/querent \
    QUERENT__MODELS__DIR=/var/lib/querent/models \
    QUERENT__HTTP__HOST=0.0.0.0 \
    QUERENT__HTTP__PORT=8080
VOLUME /var/lib/querent
EXPOSE 8080 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["querent", "health"]
ENTRYPOINT ["querent"]
CMD ["serve"]
