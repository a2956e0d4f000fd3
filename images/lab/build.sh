#!/bin/bash
# Builds the lab: a Debian guest with the parts that the kernel of a development machine may lack (8021q, AoE, device-mapper, the kernel's
# iSCSI initiator and target) and with Xen. `npm run test:lab` boots it under QEMU, plain or as Xen's first domain. Root, and a way to a
# Debian mirror; about three minutes and 1 GiB. Built again only when images/lab or this machine's node changed.
#   images/lab/build.sh OUT [--check]   ->  OUT/{disk.ext4,vmlinuz,xen,initrd.gz,manifest}, put in place at once
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUT [--check]}
start=$SECONDS
say() { printf 'lab image: %4d s  %s\n' $((SECONDS - start)) "$*"; }
fail() { printf 'lab image: %s\n' "$*" >&2; exit 1; }

digest=$({ cat "$here"/{build.sh,disk.sh,packages} "$here"/files/*; node --version; } | sha256sum | cut -c1-64)
complete() { [ -s "$1/disk.ext4" ] && [ "$(cat "$1/manifest" 2>/dev/null)" = "$digest" ]; }
if complete "$out"; then [ "${2:-}" = --check ] || say "up to date ($out)"; exit 0; fi
[ "${2:-}" = --check ] && exit 1
[ "$(id -u)" = 0 ] || fail 'the files of an image belong to root: run it as root'

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need mmdebstrap mmdebstrap; need mke2fs e2fsprogs; need cpio cpio; need modprobe kmod; need busybox busybox-static
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null || fail "apt-get install ${missing[*]} did not work: run apt-get update and try again"
fi

mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
work=$(mktemp -d "$out.making.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work" "$work".root.*' EXIT

say "installing $(grep -vc '^#' "$here/packages") packages and what they need"
"$here/disk.sh" "$work" || fail 'the disk could not be made: is the mirror reachable?'

say 'making the ramdisk'
ram=$work/ram
mkdir -p "$ram"/{bin,dev,proc,mnt,lib}
cp /bin/busybox "$ram/bin/"
for applet in sh mount umount insmod usleep switch_root; do ln -s busybox "$ram/bin/$applet"; done
mv "$work/modules" "$ram/lib/modules"
install -m 755 "$here/files/ramdisk-init" "$ram/init"
(cd "$ram" && find . | sort | cpio -o -H newc --quiet -R 0:0 | gzip -1n) > "$work/initrd.gz"
rm -rf "$ram"
echo "$digest" > "$work/manifest"

# The whole folder appears under its name at once, or not at all.
if [ -e "$out" ]; then mv -T "$out" "$out.old.$$"; fi
mv -T "$work" "$out"
rm -rf "$out".old.*
trap - EXIT
say "$(du -sm "$out" | cut -f1) MiB in $out"
