# Sourced by tests/env/run, after deb.sh and guest.sh: the package under a real systemd, in a virtual machine.

# systemd_serves SUITE: passed when every line of guest-systemd's results says so
systemd_serves() {
    local suite=$1 tree=$trees/deb-install dir status
    ls "$trees/deb-$suite"/safe-script_*.deb >/dev/null 2>&1 || deb_built "$suite" || return 1
    dir=$(mktemp -d /var/tmp/safe-script-guest-XXXXXX)
    mkdir "$dir/work"
    fresh "$suite" "$tree" && cp "$trees/deb-$suite"/safe-script_*.deb "$tree/" && in_tree chroot "$tree" /src/tests/env/package install &&
        kernel "${tree##*/}" "$dir" && cp -a "$here/guest-systemd" "$dir/work/init" &&
        mke2fs -q -t ext4 -d "$tree" "$dir/system.img" 4G && mke2fs -q -t ext4 -d "$dir/work" "$dir/work.img" 64M &&
        boot "$dir" && debugfs -R "dump /results $dir/results" "$dir/work.img" 2>/dev/null
    sed 's/^/        /' "$dir/results" >&2
    [ "$(tail -1 "$dir/results")" = "the end" ] && ! grep -q FAILED "$dir/results"
    status=$?
    rm -rf --one-file-system "$dir" "$tree"
    return $status
}
