#!/bin/bash
# Builds novact-tiny, the ready-made guest, from Debian packages only: a kernel, a ramdisk that finds the root disk, and an ext4 root
# with busybox and dropbear. No root, no loop device, no mount is needed; network only when the kernel package is not at hand.
#   images/tiny/build.sh OUT   ->  OUT/{vmlinuz,initrd.gz,root.ext4,manifest.json}, put in place at once; nothing to do when up to date.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUT [--check]}
say() { printf 'tiny image: %s\n' "$*"; }
fail() { printf 'tiny image: %s\n' "$*" >&2; exit 1; }

versions() { dpkg-query -W -f '${Package}=${Version}\n' busybox-static dropbear-bin e2fsprogs libc6 2>/dev/null || true; }
inputs() { { cat "$here/build.sh"; cat "$here"/files/*; versions; } | sha256sum | cut -c1-64; }

digest=$(inputs)
complete() { [ -s "$1/vmlinuz" ] && [ -s "$1/initrd.gz" ] && [ -s "$1/root.ext4" ] && grep -qs "\"inputs\": \"$digest\"" "$1/manifest.json"; }
if complete "$out"; then [ "${2:-}" = --check ] || say "up to date ($out)"; exit 0; fi
[ "${2:-}" = --check ] && exit 1

for tool in /bin/busybox /usr/sbin/dropbear /usr/bin/dropbearkey; do [ -x $tool ] || fail "$tool is missing: apt-get install busybox-static dropbear-bin"; done
for tool in cpio mke2fs resize2fs modprobe depmod gzip sha256sum; do
  command -v $tool >/dev/null || fail "$tool is missing: apt-get install cpio e2fsprogs kmod"
done
file_is_static() { ! ldd "$1" >/dev/null 2>&1; }
file_is_static /bin/busybox || fail "/bin/busybox is not static: apt-get install busybox-static"

# Files in the image must belong to root. Without being root, a user namespace makes it look so.
if [ "$(id -u)" != 0 ] && [ -z "${NOVACT_TINY_MAPPED:-}" ]; then
  unshare --map-root-user true 2>/dev/null || fail "neither root nor user namespaces: run it once as root"
  NOVACT_TINY_MAPPED=1 exec unshare --map-root-user "$0" "$@"
fi

mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
work=$(mktemp -d "$out.making.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

# --- The kernel: of an earlier build, of Debian's cloud kernel package, or the one this machine boots.
kernels=$(dirname "$out")/kernel
kept='/(virtio|block|net/core|net|char/hw_random|input|acpi|isofs|cdrom)/'
unpack_kernel() { # PACKAGE-TREE VERSION: keeps the image and the tree of modules.
  rm -rf "$kernels"
  mkdir -p "$kernels.new/boot" "$kernels.new/lib/modules"
  cp "$1/boot/vmlinuz-$2" "$kernels.new/boot/vmlinuz"
  cp -r "$1/lib/modules/$2" "$kernels.new/lib/modules/$2"
  [ -f "$kernels.new/lib/modules/$2/modules.dep" ] || depmod -b "$kernels.new" "$2"
  find "$kernels.new/lib/modules/$2" -name '*.ko' | grep -Ev "$kept" | xargs -r rm -f
  printf '%s\n' "$kept" > "$kernels.new/kept"
  printf '%s\n' "$2" > "$kernels.new/version"
  mv "$kernels.new" "$kernels"
}
if [ ! -s "$kernels/version" ] || [ "$(cat "$kernels/kept" 2>/dev/null)" != "$kept" ]; then
  rm -rf "$kernels.new"
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-6/{print $2; exit}') || true
  mkdir -p "$work/deb/tree"
  chmod 777 "$work/deb"
  if [ -n "$package" ] && say "downloading $package" && (cd "$work/deb" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package"); then
    dpkg -x "$work/deb/$package"_*.deb "$work/deb/tree"
    unpack_kernel "$work/deb/tree" "$(ls "$work/deb/tree/lib/modules")"
  elif [ -r "/boot/vmlinuz-$(uname -r)" ] && [ -d "/lib/modules/$(uname -r)" ]; then
    say "using this machine's kernel $(uname -r)"
    unpack_kernel / "$(uname -r)"
  else
    fail "no kernel: apt-get download linux-image-cloud-amd64 did not work, and /boot has none. Run apt-get update and try again."
  fi
  rm -rf "$work/deb"
fi
version=$(cat "$kernels/version")
say "kernel $version"
cp "$kernels/boot/vmlinuz" "$work/vmlinuz"

# Copies modules and what they need, in the order of loading: put_modules DIRECTORY MODULE…
put_modules() {
  local to=$1 number=10 module
  shift
  mkdir -p "$to"
  for module in "$@"; do modprobe -d "$kernels" -S "$version" --show-depends "$module" 2>/dev/null | awk '/^insmod/{print $2}' || true; done |
    awk '!seen[$0]++' | while read -r module; do
    cp "$module" "$to/$number-$(basename "$module")"
    number=$((number + 1))
  done
}

# --- The ramdisk: busybox, what drives a disk and a network card, and a script that finds the root.
ram=$work/ram
mkdir -p "$ram"/{bin,dev,proc,sys,mnt}
cp /bin/busybox "$ram/bin/"
for applet in sh mount umount insmod usleep switch_root; do ln -s busybox "$ram/bin/$applet"; done
put_modules "$ram/lib/modules/virtio" virtio_pci virtio_blk virtio_net
put_modules "$ram/lib/modules/xen" xen-blkfront xen-netfront
install -m 755 "$here/files/ramdisk-init" "$ram/init"
(cd "$ram" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0 | gzip -9n) > "$work/initrd.gz"

# --- The root.
root=$work/root
mkdir -p "$root"/{bin,sbin,dev,proc,sys,etc/dropbear,etc/acpi/PWRF,root/.ssh,tmp,run,mnt,lib64,lib/modules,var/log,var/lib/novact,usr/lib/x86_64-linux-gnu}
ln -s ../bin "$root/usr/bin"
ln -s ../sbin "$root/usr/sbin"
chmod 700 "$root/root" "$root/root/.ssh"
chmod 1777 "$root/tmp"
cp /bin/busybox "$root/bin/"
for applet in $(/bin/busybox --list); do [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"; done
put_program() { # PROGRAM TO: with its libraries, where the program looks for them.
  cp -L "$1" "$2"
  ldd "$1" | grep -o '/lib[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    [ -e "$root$library" ] || cp -L "$library" "$root$library"
  done
}
for program in /usr/sbin/dropbear /usr/bin/dropbearkey; do put_program $program "$root/bin/"; done
put_program "$(command -v resize2fs)" "$root/sbin/"
put_modules "$root/lib/modules" evdev button virtio-rng virtio_balloon
put_modules "$root/lib/modules/config-drive" isofs
for command in poweroff reboot halt; do
  rm -f "$root/bin/$command"
  install -m 755 "$here/files/end" "$root/sbin/$command"
done
install -m 755 "$here/files/init" "$root/sbin/init"
install -m 755 "$here/files/udhcpc.sh" "$root/etc/udhcpc.sh"
install -m 755 "$here/files/metadata" "$root/sbin/metadata"
install -m 755 "$here/files/config-drive" "$root/sbin/config-drive"
install -m 755 "$here/files/uevent" "$root/sbin/novact-uevent"
install -m 755 "$here/files/power-button" "$root/etc/acpi/PWRF/00000080"
install -m 644 "$here/files/profile" "$root/etc/profile"
install -m 644 "$here/files/motd" "$root/etc/motd"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:*:19000:0:99999:7:::' > "$root/etc/shadow"
chmod 600 "$root/etc/shadow"
echo 'root:x:0:' > "$root/etc/group"
echo /bin/sh > "$root/etc/shells"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
echo '127.0.0.1 localhost' > "$root/etc/hosts"
echo novact-tiny > "$root/etc/hostname"
printf 'NAME="novact-tiny"\nID=novact-tiny\nPRETTY_NAME="novact-tiny (Linux %s)"\n' "$version" > "$root/etc/os-release"
find "$root" "$ram" -exec touch -h -d @1700000000 {} +

# The blocks for the group descriptors of 512 GiB are reserved, so that the file system can grow online to any disk.
truncate -s 32M "$work/root.ext4"
mke2fs -q -t ext4 -F -b 4096 -L root -J size=4 -E resize=134217728,lazy_itable_init=0,lazy_journal_init=0 -d "$root" "$work/root.ext4"

# --- The manifest: what it is, how to boot it, and what it was made from.
describe() { printf '    { "name": "%s", "type": "%s", "sizeBytes": %s, "sha256": "%s" }' "$1" "$2" "$(stat -c %s "$work/$1")" "$(sha256sum < "$work/$1" | cut -c1-64)"; }
cat > "$work/manifest.json" <<JSON
{
  "name": "novact-tiny",
  "description": "busybox and dropbear on Linux $version",
  "architecture": "x86_64",
  "kernelVersion": "$version",
  "kernelArguments": "root=/dev/vda console=ttyS0 nokaslr mitigations=off no_timer_check cryptomgr.notests noreplace-smp quiet loglevel=4",
  "rootDeviceName": "/dev/vda",
  "inputs": "$digest",
  "files": [
$(describe vmlinuz kernel),
$(describe initrd.gz ramdisk),
$(describe root.ext4 machine)
  ]
}
JSON
rm -rf "$ram" "$root"
sync -f "$work" 2>/dev/null || true

# The whole folder appears under its name at once, or not at all.
if [ -e "$out" ]; then mv -T "$out" "$out.old.$$"; fi
mv -T "$work" "$out"
rm -rf "$out".old.*
trap - EXIT
say "$(cd "$out" && du -h --apparent-size vmlinuz initrd.gz root.ext4 | awk '{printf "%s %s  ", $2, $1}')in $out"
