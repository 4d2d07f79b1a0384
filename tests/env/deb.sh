# Sourced by tests/env/run, after trees.sh: the Debian package. It is built in one tree and installed in another, so that what it does not
# depend on is not there.

# deb_built SUITE: the package in $trees/deb-SUITE
deb_built() {
    local suite=$1 dir=$trees/deb-build status
    fresh "$suite" "$dir" && in_tree chroot "$dir" /src/tests/env/package build
    status=$?
    rm -rf --one-file-system "$trees/deb-$suite"
    mkdir "$trees/deb-$suite" && mv "$dir"/*.deb "$trees/deb-$suite/" 2>/dev/null
    rm -rf --one-file-system "$dir"
    return "$status"
}

deb_served() {
    local suite=$1 dir=$trees/deb-install status
    fresh "$suite" "$dir" && cp "$trees/deb-$suite"/safe-script_*.deb "$dir/" && in_tree pivot_root "$dir" /src/tests/env/package serve
    status=$?
    rm -rf --one-file-system "$dir"
    return "$status"
}

deb_done() { rm -rf --one-file-system "$trees/deb-bookworm" "$trees/deb-trixie"; }
