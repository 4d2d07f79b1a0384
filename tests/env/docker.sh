# Sourced by tests/env/run: a Docker daemon of our own. It lives in mount, pid and net namespaces of its own, with its data in a
# directory of its own, so that it meets no other daemon's and leaves nothing behind. Its images are the trees of trees.sh.

docker_home= docker_launcher=

docker_cli() { DOCKER_HOST="unix://$docker_home/socket" /usr/bin/docker "$@"; }

# docker_start [host]: with a network of its own, or with the machine's, for builds
docker_start() {
    [ -z "$docker_launcher" ] || return 0
    install_packages docker.io $(apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli)
    [ -n "$docker_home" ] || docker_home=$(mktemp -d /var/tmp/docker-for-safe-script-XXXXXX)
    local network=--net bridge=
    [ "${1:-}" != host ] || { network=; bridge=--bridge=none; }
    # shellcheck disable=SC2086
    unshare --mount --pid $network --fork --kill-child --mount-proc --propagation private bash -c '
        [ -n "$2" ] || ip link set lo up
        exec /usr/sbin/dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/socket" \
            --cgroup-parent "/${1##*/}" --iptables=false --ip6tables=false --ip-masq=false $2' - "$docker_home" "$bridge" \
        >"$docker_home/log" 2>&1 &
    docker_launcher=$!
    trap docker_stop EXIT
    for _ in $(seq 300); do
        docker_cli version >/dev/null 2>&1 && return
        kill -0 "$docker_launcher" 2>/dev/null || break
        sleep 0.2
    done
    tail -20 "$docker_home/log" >&2
    return 1
}

# Its first process is PID 1 of its namespace: nothing in there outlives it. What it has stored stays for another.
docker_halt() {
    [ -n "$docker_launcher" ] || return 0
    kill -TERM "$(pgrep -P "$docker_launcher")" 2>/dev/null
    for _ in $(seq 100); do kill -0 "$docker_launcher" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$docker_launcher" 2>/dev/null
    wait "$docker_launcher" 2>/dev/null
    docker_launcher=
}

docker_stop() {
    [ -n "$docker_home" ] || return 0
    docker_halt
    find /sys/fs/cgroup -depth -path "*/${docker_home##*/}*" -type d -exec rmdir {} + 2>/dev/null
    rm -rf --one-file-system "$docker_home"
    docker_home=
}

# image SUITE: the tree as the image safe-script:SUITE, the product and its tests in /src
image() {
    built "$1" && docker_start || return 1
    [ -z "$(docker_cli images -q "safe-script:$1")" ] || return 0
    tar -C "$trees/$1" --exclude=./var/cache/apt --exclude=./src/.git -c . |
        docker_cli import --change 'WORKDIR /src' --change 'ENV LANG=C.UTF-8' - "safe-script:$1" >/dev/null
}

# container SUITE PLACE [PYTEST ARGUMENTS]: the place's name is the command line up to the image. A file system that is read-only gets
# the tmpfs that pytest needs; /dev/shm has room for the disks that the tests ask for, of many runs at once.
container() {
    local suite=$1 place=$2 flags
    shift 2
    image "$suite" || return 1
    flags=${place#docker run}
    [ "${flags/--read-only/}" = "$flags" ] || flags="$flags --tmpfs /tmp:size=64m,exec"
    # shellcheck disable=SC2086
    docker_cli run --rm --shm-size 3g $flags "safe-script:$suite" tests/env/inside "$place" "$@"
}
