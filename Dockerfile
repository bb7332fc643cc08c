# One static binary and nothing else: no shell, no libc, no user database.
#
#   docker build -t causeway .
#   docker run -p 8080:8080 -e CAUSEWAY_UPSTREAMS=app:3000 causeway
#
# The build stage runs on the image's own platform, so its host triple is the right one for amd64 and arm64 alike.

FROM rust:1-bookworm AS build
RUN rustup component add llvm-tools \
 && apt-get update && apt-get install -y --no-install-recommends nghttp2-client openssl python3 wrk
WORKDIR /build
COPY . .
# It builds twice: the second time with the hot path laid out as the first one's counts say. It also says --target, which
# keeps crt-static away from build scripts and macros, which must stay dynamic.
RUN RUSTFLAGS="-C target-feature=+crt-static" benches/profile/build --locked

FROM scratch
LABEL org.opencontainers.image.title="causeway" \
      org.opencontainers.image.description="A reverse proxy that tries every upstream it safely can, and says why when none could answer" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /build/target/dist/causeway /causeway
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/causeway", "healthcheck"]
ENTRYPOINT ["/causeway"]
CMD ["run"]
