# safe-script in a container: docker build -t safe-script . && docker run -p 8080:8080 safe-script
# `--target slim` leaves numpy, pandas and matplotlib out.

FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev linux-libc-dev meson ninja-build pkg-config libmicrohttpd-dev libgnutls28-dev libseccomp-dev \
        libinih-dev nettle-dev python3 python3-dev libcap2-bin tzdata ca-certificates
COPY . /src
RUN meson setup /build /src --prefix=/usr -Dtests=disabled -Dwerror=false && ninja -C /build && \
    DESTDIR=/installed meson install -C /build --no-rebuild --strip && \
    cp -a /installed/usr/bin/safe-script /usr/bin/ && cp -a /installed/usr/libexec/safe-script /usr/libexec/
RUN mkdir -p /slim/tmp /slim/dev /slim/proc /slim/etc && chmod 1777 /slim/tmp && \
    python3 -I /src/dist/image/collect /slim \
        /usr/bin/safe-script /usr/libexec/safe-script /usr/bin/python3 /usr/lib/python3 /usr/lib/python3.13 \
        /usr/share/zoneinfo /etc/localtime /etc/ssl/certs /etc/ssl/openssl.cnf && \
    setcap cap_setuid,cap_setgid,cap_setpcap,cap_kill,cap_chown,cap_dac_override,cap_fowner,cap_sys_chroot,cap_sys_admin+p \
        /slim/usr/bin/safe-script && \
    echo 'safe-script:x:65532:65532:safe-script:/:/usr/sbin/nologin' >/slim/etc/passwd && \
    echo 'safe-script:x:65532:' >/slim/etc/group

FROM build AS build-data
RUN apt-get install -y --no-install-recommends python3-numpy python3-pandas python3-matplotlib fonts-dejavu-core && mkdir /data && \
    python3 -I /src/dist/image/collect /data /usr/lib/python3 /etc/alternatives/lib* /usr/share/matplotlib /etc/matplotlibrc \
        /usr/share/fonts/truetype/dejavu /etc/fonts /usr/share/fontconfig

FROM scratch AS slim
COPY --from=build /slim /
LABEL org.opencontainers.image.title="safe-script" \
      org.opencontainers.image.description="Runs untrusted Python scripts safely, over HTTP" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PORT=8080 LANG=C.UTF-8 SAFE_SCRIPT_OPEN_TO_ALL=yes SAFE_SCRIPT_WALLS=1
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/bin/safe-script", "health"]
ENTRYPOINT ["/usr/bin/safe-script"]
CMD ["serve"]

FROM slim AS default
COPY --from=build-data /data /
