#!/bin/bash
# Builds a cloud-style Debian 12 disk as Debian's own cloud images are: cloud-init, openssh-server, growpart, systemd-networkd through
# netplan, the cloud kernel, GRUB. No data source is configured: cloud-init finds the Ec2 one by itself. Not part of bootstrap.
#   images/debian/build.sh OUT   ->  OUT/disk.qcow2 (about 2 minutes, 1.5 GiB of room) and OUT/packages.txt
#
# It runs as root, with a way to a Debian mirror. What it needs of Debian's packages it installs by apt itself. No loop device and no
# mount are used: the file system is written by mke2fs into the middle of a file, and GRUB's core is put before it.
#   SUITE=bookworm           which Debian
#   KERNEL_ARGUMENTS=…       appended to the kernel's command line, such as `mitigations=off no_timer_check` for emulated guests
#   PACKAGES=vim,htop        more packages, separated by commas
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

out=${1:?usage: build.sh OUT}
suite=${SUITE:-bookworm}
arguments="console=tty0 console=ttyS0,115200 consoleblank=0${KERNEL_ARGUMENTS:+ $KERNEL_ARGUMENTS}"
start=$SECONDS
say() { printf 'debian image: %4d s  %s\n' $((SECONDS - start)) "$*"; }
fail() { printf 'debian image: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "the files of an image belong to root: run it as root"

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need mmdebstrap mmdebstrap; need sfdisk fdisk; need mke2fs e2fsprogs; need qemu-img qemu-utils
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null || fail "apt-get install ${missing[*]} did not work: run apt-get update and try again"
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/making.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
root=$work/root disk=$work/disk.raw

# --- The tree: systemd, what a cloud image of Debian has to get its address, key and user data, and little else.
include=systemd-sysv,systemd-resolved,udev,dbus,netplan.io,isc-dhcp-client,iproute2,iputils-ping,ca-certificates,curl,less,procps,sudo
include=$include,cloud-init,cloud-guest-utils,openssh-server,e2fsprogs,fdisk,linux-image-cloud-amd64,initramfs-tools,grub-pc
# In the chroot GRUB must write to no disk of this machine.
cat > "$work/answers" <<'A'
grub-pc grub-pc/install_devices multiselect
grub-pc grub-pc/install_devices_empty boolean true
A
say "installing $suite with mmdebstrap"
mmdebstrap --quiet --mode=root --variant=minbase --aptopt='APT::Install-Recommends "false"' --include="$include${PACKAGES:+,$PACKAGES}" \
  --essential-hook="chroot \"\$1\" debconf-set-selections < '$work/answers'" "$suite" "$root" ||
  fail "mmdebstrap did not work: is the mirror reachable?"
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' > "$work/packages.txt"

# --- What makes it an image for many machines: nothing of the machine it was made on, and nothing that two machines may share.
uuid=$(cat /proc/sys/kernel/random/uuid)
printf 'UUID=%s / ext4 defaults,discard,errors=remount-ro 0 1\n' "$uuid" > "$root/etc/fstab"
echo localhost > "$root/etc/hostname"
echo 'LANG=C.UTF-8' > "$root/etc/default/locale"
: > "$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/log/*.log
sed -i "s|^GRUB_CMDLINE_LINUX=.*|GRUB_CMDLINE_LINUX=\"$arguments\"|; s|^GRUB_TIMEOUT=.*|GRUB_TIMEOUT=0|" "$root/etc/default/grub"
# The first boot of an emulated machine is slow enough without an RSA host key and the nightly jobs of a server.
printf 'ssh_genkeytypes: [ed25519, ecdsa]\n' > "$root/etc/cloud/cloud.cfg.d/10_novact_trim.cfg"
for timer in apt-daily apt-daily-upgrade e2scrub_all dpkg-db-backup; do ln -sf /dev/null "$root/etc/systemd/system/$timer.timer"; done
ln -sf /dev/null "$root/etc/systemd/system/e2scrub_reap.service"

# --- GRUB: the core knows the first partition; the menu names the file system and the links that a new kernel's package renews.
mkdir -p "$root/boot/grub"
cp -r "$root/usr/lib/grub/i386-pc" "$root/boot/grub/"
cat > "$root/boot/grub/grub.cfg" <<G
# Written by images/debian/build.sh; update-grub replaces it.
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry 'Debian GNU/Linux' {
  linux /vmlinuz root=UUID=$uuid ro $arguments
  initrd /initrd.img
}
G
[ -e "$root/vmlinuz" ] && [ -e "$root/initrd.img" ] || fail "the kernel's package left no /vmlinuz and /initrd.img"
chroot "$root" grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/core.img biosdisk part_msdos ext2 normal linux serial terminal configfile echo

# --- The disk: a partition table, the file system at 1 MiB, GRUB's core in the gap before it and its first stage in the first sector.
used=$(du -sxm "$root" | cut -f1)
size=$((used + used / 4 + 256))
say "writing a disk of $size MiB for $used MiB of files"
truncate -s "${size}M" "$disk"
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q "$disk"
# A MiB is left for the partition's beginning; the first boot grows both anyway.
mke2fs -q -t ext4 -F -b 4096 -L cloudimg-rootfs -U "$uuid" -E offset=1048576,lazy_itable_init=0,lazy_journal_init=0 -d "$root" "$disk" $(((size - 1) * 256))
core=$root/boot/grub/core.img
[ "$(stat -c %s "$core")" -le $((2047 * 512)) ] || fail "GRUB's core does not fit before the partition"
dd if="$core" of="$disk" bs=512 seek=1 conv=notrunc status=none
dd if="$root/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none

say "compressing"
qemu-img convert -c -O qcow2 "$disk" "$work/disk.qcow2"
mv "$work/packages.txt" "$out/packages.txt"
mv "$work/disk.qcow2" "$out/disk.qcow2"
say "$out/disk.qcow2: $(du -m "$out/disk.qcow2" | cut -f1) MiB, sha256 $(sha256sum < "$out/disk.qcow2" | cut -c1-64)"
