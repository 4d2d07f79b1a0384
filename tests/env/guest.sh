# Sourced by tests/env/run: virtual machines with Debian's kernels and cgroup v2. Emulated (TCG), so that they run anywhere: slow. The
# system is a tree of trees.sh on a disk whose changes are thrown away; a second disk carries the work in and the results out.

guest_memory=3072
guest_patience=5400

# kernel SUITE DIR: Debian's kernel for clouds as DIR/vmlinuz, the modules of its disks in DIR/initrd
kernel() {
    local tree=$trees/$1 dir=$2 package file name
    rm -rf --one-file-system "$tree/var/tmp/kernel"
    # shellcheck disable=SC2016
    in_tree chroot "$tree" bash -c 'mkdir -p /var/tmp/kernel; cd /var/tmp/kernel; apt-get -qq update
        apt-get -qq download "$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/ *Depends: \(linux-image-[^ ]*\)$/\1/p" | head -1)"' >&2 || return 1
    for package in "$tree"/var/tmp/kernel/*.deb; do dpkg-deb -x "$package" "$dir/kernel" || return 1; done
    cp "$dir"/kernel/boot/vmlinuz-* "$dir/vmlinuz" || return 1
    mkdir -p "$dir/initrd.d/bin" "$dir/initrd.d/dev" "$dir/initrd.d/root" "$dir/initrd.d/modules"
    cp /bin/busybox "$dir/initrd.d/bin/" && cp "$here/guest-initrd" "$dir/initrd.d/init" || return 1
    for name in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 mbcache jbd2 ext4; do
        for file in $(find "$dir/kernel" -name "$name.ko*"); do
            case $file in
                *.xz) xz -dc "$file" >"$dir/initrd.d/modules/$name.ko" ;;
                *) cp "$file" "$dir/initrd.d/modules/" ;;
            esac
        done
    done
    (cd "$dir/initrd.d" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$dir/initrd"
}

# boot DIR: until it powers off; what it said is in DIR/console
boot() {
    timeout "$guest_patience" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -cpu max -smp 2 -m "$guest_memory" \
        -nodefaults -no-user-config -display none -no-reboot -serial stdio \
        -kernel "$1/vmlinuz" -initrd "$1/initrd" -append "console=ttyS0 panic=-1 quiet loglevel=3 lsm=landlock,yama,apparmor,bpf" \
        -drive "file=$1/system.img,format=raw,if=virtio,snapshot=on" -drive "file=$1/work.img,format=raw,if=virtio" \
        </dev/null 2>&1 | sed -u 's/\r$//' | tee "$1/console" >&2
}

# guest SUITE: the place passed when every line of its results says so
guest() {
    local dir status
    built "$1" || return 1
    dir=$(mktemp -d /var/tmp/safe-script-guest-XXXXXX)
    mkdir "$dir/work"
    kernel "$1" "$dir" && cp -a "$here/guest-init" "$dir/work/init" &&
        mke2fs -q -t ext4 -d "$trees/$1" "$dir/system.img" 4G && mke2fs -q -t ext4 -d "$dir/work" "$dir/work.img" 64M &&
        boot "$dir" && debugfs -R "dump /results $dir/results" "$dir/work.img" 2>/dev/null
    sed 's/^/        /' "$dir/results" >&2
    [ "$(tail -1 "$dir/results")" = "the end" ] && ! grep -q FAILED "$dir/results"
    status=$?
    rm -rf --one-file-system "$dir"
    return $status
}
