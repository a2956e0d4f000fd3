#!/bin/bash
# The disk of the lab guest, from Debian's packages and this machine's node; called by build.sh, as root, when packages or this changed.
#   images/lab/disk.sh OUT   ->  OUT/{disk.ext4,vmlinuz,xen,modules/,modules.list}
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
root=$(mktemp -d "$out.root.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
packages=$(grep -v '^#' "$here/packages" | paste -sd,)

# The ramdisk is ours: the kernel's package would spend a minute on one of its own.
no_ramdisk='chroot "$1" dpkg-divert --quiet --local --rename --add /usr/sbin/update-initramfs; ln -s /bin/true "$1/usr/sbin/update-initramfs"'
mmdebstrap --quiet --mode=root --variant=minbase --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
  --essential-hook="$no_ramdisk" --include="$packages" bookworm "$root"
install -m 755 "$(readlink -f "$(command -v node)")" "$root/usr/local/bin/node"

version=$(ls "$root/lib/modules")
cp "$root/boot/vmlinuz-$version" "$out/vmlinuz"
gunzip -c "$root"/boot/xen-*-amd64.gz > "$out/xen"

# No guest of ours has a screen, a sound card or a radio: without their drivers the disk is half a GiB smaller.
modules=$root/lib/modules/$version/kernel
rm -rf "$modules"/sound "$modules"/drivers/{gpu,media,staging,bluetooth,iio,hwmon,usb,mmc,nfc,comedi,platform} "$modules"/drivers/net/{wireless,ethernet,usb,wwan,can,ieee802154} "$modules"/net/{bluetooth,mac80211,wireless,nfc}
rm -rf "$root"/usr/share/{doc,man,locale,info} "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/boot/{initrd,vmlinuz,xen}* "$root"/usr/lib/firmware
depmod -b "$root" "$version"

# What the ramdisk needs to find its disk and the folders of the host, in the order of loading.
mkdir "$out/modules"
number=10
for module in virtio_pci virtio_blk virtio_net ext4 9pnet_virtio 9p; do modprobe -d "$root" -S "$version" --show-depends $module | awk '/^insmod/{print $2}'; done |
  awk '!seen[$0]++' | while read -r module; do
  cp "$module" "$out/modules/$number-$(basename "$module")"
  number=$((number + 1))
done

printf 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\ncgroup_controllers = [ ]\nnamespaces = [ ]\nstdio_handler = "file"\n' > "$root/etc/libvirt/qemu.conf"
printf 'auth_unix_rw = "none"\n' > "$root/etc/libvirt/libvirtd.conf"
rm -f "$root"/etc/libvirt/qemu/networks/autostart/*
rm -f "$root/etc/resolv.conf" "$root/etc/iscsi/initiatorname.iscsi"
printf '::respawn:/bin/busybox sleep 1000000\n' > "$root/etc/inittab"
install -m 755 "$here/files/init" "$root/lab-init"
install -m 755 "$here/files/start-xen" "$root/usr/local/sbin/start-xen"
mkdir -p "$root/lab" "$root/root/.ssh"
chmod 700 "$root/root" "$root/root/.ssh"
truncate -s 6G "$out/disk.ext4"
mke2fs -q -t ext4 -F -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$out/disk.ext4"
