# Sourced by ./run and ./check: the one list of Debian packages, and the build. Needs bash and $top.

packages_build="gcc libc6-dev linux-libc-dev meson ninja-build pkg-config libmicrohttpd-dev libgnutls28-dev libseccomp-dev
 libinih-dev nettle-dev python3 python3-dev"
packages_data="python3-numpy python3-pandas python3-matplotlib"
packages_check="bubblewrap curl libcmocka-dev openssl python3-pytest python3-pytest-xdist python3-jsonschema python3-yaml man-db mandoc clang clang-tidy clang-format cppcheck util-linux procps"
# What bench/run measures beside us, and counts instructions with.
packages_bench="bubblewrap python3-flask gunicorn valgrind util-linux"
# CPython's own tests: of the version that Debian's python3 is.
packages_cpython() { apt-cache depends python3-minimal | sed -n 's/.*Depends: python\(3\.[0-9]*\)-minimal/libpython\1-testsuite/p'; }
# What tests/env makes places with; docker.sh adds docker-cli, which is a package of its own from Debian 13 on.
packages_env="debootstrap git util-linux procps iproute2 docker.io qemu-system-x86 busybox-static e2fsprogs xz-utils"

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "needs root or sudo to install: $*"
    fi
}

# The packages among the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        case "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" in
            installed) ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

install_packages() {
    command -v dpkg-query >/dev/null || die "installs Debian's packages; elsewhere install what dist/setup.sh names and use meson"
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    say "Installing from Debian: $missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
        die "apt-get update failed: check the network and /etc/apt/sources.list"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >&2 ||
        die "apt-get could not install: $missing"
}

# build_in DIR [MESON OPTIONS]
build_in() {
    local dir=$1
    shift
    # Debian's own interpreter and tools, whatever else is first in PATH.
    PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH
    if [ ! -f "$top/$dir/build.ninja" ]; then
        rm -rf "${top:?}/$dir"
        meson setup "$top/$dir" "$top" "$@" >&2 || die "meson could not configure $dir"
    elif [ $# -gt 0 ]; then
        meson configure "$top/$dir" "$@" >&2 || die "meson could not configure $dir"
    fi
    ninja -C "$top/$dir" >&2 || die "the build in $dir failed"
}
