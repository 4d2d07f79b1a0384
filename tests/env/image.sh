# Sourced by tests/env/run, after docker.sh: the image of the README's two lines, built and run for real. No registry is asked: the base
# image is a debootstrap tree to which nothing was done, under the name that the Dockerfile uses. The build needs the machine's network for apt-get, and the
# containers one of their own for published ports: two daemons, one after the other, on the same data.

image_built() {
    fresh trixie "$trees/image" && docker_start host || return 1
    tar -C "$trees/image" --exclude=./var/cache/apt --exclude=./src -c . | docker_cli import - debian:trixie-slim >/dev/null &&
        rm -rf --one-file-system "$trees/image" &&
        docker_cli build --quiet --network host -t safe-script "$top" >&2 &&
        docker_cli build --quiet --network host -t safe-script:slim --target slim "$top" >&2
}

image_runs() {
    docker_halt
    docker_start && install_packages docker-compose || return 1
    DOCKER_HOST="unix://$docker_home/socket" SAFE_SCRIPT_SECCOMP="$top/dist/docker-seccomp.json" \
        nsenter --target "$(pgrep -P "$docker_launcher")" --net /usr/bin/python3 -m pytest -q -p no:cacheprovider "$here/test_image.py" >&2
}
