# Sourced by tests/env/run: clean Debian trees, and commands in them. Trees are kept in $trees so that a second run is quick.

trees=${SAFE_SCRIPT_TREES:-/var/tmp/safe-script-trees}

# fresh SUITE DIR: a minimal Debian that nothing was done to, with this machine's way to the packages, and a clone of this repository
# in /src
fresh() {
    local base=$trees/base-$1 dir=$2
    if [ ! -f "$base/.whole" ]; then
        rm -rf --one-file-system "$base"
        mkdir -p "$trees"
        debootstrap --variant=minbase "$1" "$base" >"$trees/$1.log" 2>&1 || { tail -20 "$trees/$1.log" >&2; return 1; }
        touch "$base/.whole"
    fi
    rm -rf --one-file-system "$dir"
    cp -a "$base" "$dir" && ready_tree "$dir"
}

ready_tree() {
    local dir=$1
    cp /etc/resolv.conf /etc/hosts "$dir/etc/" 2>/dev/null
    cp /etc/apt/apt.conf.d/*registry* "$dir/etc/apt/apt.conf.d/" 2>/dev/null
    mkdir -p "$dir/usr/local/share" && cp -r /usr/local/share/ca-certificates "$dir/usr/local/share/" 2>/dev/null
    rm -rf --one-file-system "$dir/src" "$dir/.built"
    git clone -q "$top" "$dir/src"
}

# tree SUITE: the same, with what was installed in it before
tree() {
    if [ -f "$trees/$1/.whole" ]; then ready_tree "$trees/$1"; else fresh "$1" "$trees/$1"; fi
}

# in_tree ROOT DIR COMMAND: in mount and pid namespaces of its own, so that nothing is left on the machine. ROOT is "chroot", as people
# start such a tree by hand, or "pivot_root", as containers do (in a chroot the kernel gives ordinary users no namespaces).
in_tree() {
    local root=$1 dir=$2
    shift 2
    unshare --mount --pid --fork --kill-child --propagation private bash -eu -c '
        root=$1 dir=$2; shift 2
        mount --bind "$dir" "$dir"
        mount -t proc proc "$dir/proc"
        mount -t sysfs -o ro sysfs "$dir/sys" 2>/dev/null || true
        mount --rbind /sys/fs/cgroup "$dir/sys/fs/cgroup" 2>/dev/null || true
        mount -t tmpfs -o mode=755 tmpfs "$dir/dev"
        for node in null zero full random urandom tty; do touch "$dir/dev/$node"; mount --bind "/dev/$node" "$dir/dev/$node"; done
        mkdir -p "$dir/dev/shm" "$dir/dev/pts"; mount -t tmpfs tmpfs "$dir/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$dir/dev/pts"
        ln -s pts/ptmx "$dir/dev/ptmx"
        ln -s /proc/self/fd "$dir/dev/fd"
        cd "$dir"
        if [ $root = pivot_root ]; then pivot_root . mnt; umount -l /mnt; dir=/; fi
        exec chroot "$dir" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 CI="${CI:-}" "$@"' - "$root" "$dir" "$@"
}

# built SUITE: a tree with the product built in /src/build, as the tests of a place need it
built() {
    local dir=$trees/$1
    if [ ! -d "$dir/src/.git" ] || [ "$(git -C "$dir/src" rev-parse HEAD)" != "$(git -C "$top" rev-parse HEAD)" ]; then
        tree "$1" || return 1
    fi
    [ ! -f "$dir/.built" ] || return 0
    in_tree chroot "$dir" bash -c 'cd /src && ./check build' && touch "$dir/.built"
}
