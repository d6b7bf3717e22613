# cairnd and cairnctl on Debian. deploy/README.md says how to build and run it.
#
#   docker build -t cairn .
#   docker run --cap-drop ALL --cap-add SYS_ADMIN --security-opt apparmor=unconfined ... cairn
#
# The server runs as root with one capability, SYS_ADMIN: mount(2) demands it, and mount(8) and mount.nfs serve
# nobody but root. Nothing else was needed by any step of tests/image/main_job, which runs it so. When
# all shares are file:// (somebody else mounts them) it needs no capability and no root.

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/packages deploy/install-packages deploy/
RUN deploy/install-packages build
COPY . .
# A ccache of the host can be mounted here: `buildah bud -v "$HOME/.cache/ccache:/ccache"`.
ENV CCACHE_DIR=/ccache CCACHE_BASEDIR=/src CCACHE_NOHASHDIR=1 CCACHE_COMPILERCHECK=content
# How many compilers run at a time; all processors when it is empty.
ARG JOBS=
RUN cmake --preset release -DCAIRN_TESTS=OFF -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=6 \
 && cmake --build build/release -j "${JOBS:-$(nproc)}" --target cairnd cairnctl \
 && install -D -s -t /out/usr/bin build/release/server/cairnd build/release/client/cairnctl/cairnctl \
 && install -D -m 0644 -t /out/etc/cairn deploy/image/cairn/cairnd.yaml deploy/image/cairn/nfs_shares \
 && install -D -m 0644 -t /out/usr/share/doc/cairn LICENSE
# The packages of the shared libraries that the two load: they are asked, so the list is never out of date.
RUN mkdir -p /out/usr/share/cairn \
 && ldd /out/usr/bin/* | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u | xargs readlink -f \
      | xargs dpkg-query -S | cut -d: -f1 | sort -u >/out/usr/share/cairn/runtime-packages \
 && cat /out/usr/share/cairn/runtime-packages

FROM debian:bookworm-slim
COPY --from=build /out/ /
# qemu-utils for the images; nfs-common for mount.nfs, and netbase for /etc/protocols, without which it mounts
# no NFS 3; tini as process 1, which reaps what loses its parent in here, such as the helper of a mount that
# was killed by force. cairnd waits for its own children only.
#
# python3 (32 MB) is there for nfs-common's nfsiostat, mountstats and nfsdclnts, which look at statistics;
# mount.nfs, umount.nfs and rpc.statd are C programs. It is taken out by dpkg, so that the list of packages
# stays true; apt will want it back before it installs anything on top (apt-get -f install). What only python3
# wanted goes without force: dpkg refuses should anything else need it.
# The set-user-ID bits go because nobody but root is in here.
RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get -q update \
 && apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends \
      qemu-utils nfs-common netbase util-linux tini $(cat /usr/share/cairn/runtime-packages) \
 && dpkg --purge --force-depends $(dpkg-query -W -f '${Package}\n' | grep -E '^(lib)?python3') \
 && dpkg --purge media-types libreadline8 readline-common libncursesw6 libexpat1 \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /tmp/* \
      /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian/* \
 && find /usr/share/doc -type f ! -name copyright ! -name LICENSE -delete \
 && find /usr/share/doc -type d -empty -delete \
 && mkdir -p /run/cairn /var/lib/cairn

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="cairn" \
      org.opencontainers.image.description="Volumes and snapshots on plain NFS shares, over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

VOLUME /var/lib/cairn
EXPOSE 7411
# The whole server's health; a pool's is `cairnctl health pool/default`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["cairnctl", "health", "--quiet"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/cairnd"]
CMD ["--config", "/etc/cairn/cairnd.yaml"]
