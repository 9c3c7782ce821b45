# latrace with what it needs to judge programs. Not built by us yet: .github/workflows/release.yml does it.
#   docker build --tag latrace .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" latrace run /usr/local/share/latrace/recipes/quickstart.toml
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN packaging/stage /stage

FROM debian:bookworm-slim
# bubblewrap needs user namespaces, which a container may lack: `latrace doctor` says whether programs can be judged.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates libgcc-s1 python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /stage /usr/local
RUN useradd --create-home latrace && install --directory --owner latrace /work
USER latrace
# Runs are written to `runs` here.
WORKDIR /work
ENTRYPOINT ["latrace"]
CMD ["--help"]
