# Two stages: one builds the static executable, the other is nothing but it.
#
#   docker build -t hookrun:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# The same command as on a developer's machine; it prints the executable's path.
RUN cargo xtask dist \
 && install -D target/dist/hookrun /hookrun \
 && install -D /etc/ssl/certs/ca-certificates.crt /ca-certificates.crt

FROM scratch
# Certificate authorities, for Onix and object stores behind TLS; found where the libraries look first.
COPY --from=build /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /hookrun /hookrun
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/hookrun"]
