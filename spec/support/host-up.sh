#!/bin/bash
# One test host on this machine = a network namespace + a mount namespace + a libvirtd of its own. No systemd needed.
#   host-up.sh up NAME DIR      starts what is not running; prints the socket
#   host-up.sh kill NAME DIR    ends its libvirtd only (SIGKILL); guests go on
#   host-up.sh down NAME DIR    destroys its guests, stops its daemon, deletes its namespaces and DIR; prints how often the daemon crashed
# GUEST_USER (default root): whom QEMU runs as; with another user libvirt relabels the disks, as on a stock Debian.
# CERTIFICATES: a folder with ca-cert.pem, {server,client}-{cert,key}.pem: libvirtd also listens with TLS, and QEMU migrates with it.
set -euo pipefail
cmd=$1 name=$2 dir=$3 user=${GUEST_USER:-root} certificates=${CERTIFICATES:-}
# kill -0 also succeeds on a zombie that nobody has reaped.
alive() { [ -s "$1" ] && grep -q '^State:.[^ZX]' "/proc/$(cat "$1")/status" 2>/dev/null; }
stopped() { for _ in $(seq "$2"); do alive "$1" || return 0; sleep 0.05; done; return 1; }
pid=$dir/run/libvirtd.pid sock=$dir/run/libvirt-sock supervisor=$dir/run/supervisor.pid

configure() {
  mkdir -p "$dir"/{run,lib,log,cache,etc}
  chmod 755 "$dir" "$dir"/{run,lib,log,cache,etc}
  [ -d "$dir/etc/libvirt" ] || cp -a /etc/libvirt "$dir/etc/"
  rm -rf "$dir/etc/libvirt/qemu/networks/autostart"
  cat > "$dir/etc/libvirt/libvirtd.conf" <<C
auth_unix_rw = "none"
log_outputs = "3:file:$dir/log/libvirtd.log"
host_uuid = "$(echo "$name" | md5sum | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/')"
listen_tls = $([ -z "$certificates" ] && echo 0 || echo 1)
ca_file = "$certificates/ca-cert.pem"
cert_file = "$certificates/server-cert.pem"
key_file = "$certificates/server-key.pem"
C
  cat > "$dir/etc/libvirt/qemu.conf" <<C
user = "$user"
group = "$(id -gn "$user")"
dynamic_ownership = $([ "$user" = root ] && echo 0 || echo 1)
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
$([ -z "$certificates" ] || printf 'migrate_tls_x509_cert_dir = "%s"\nmigrate_tls_x509_verify = 1\n' "$certificates")
C
  # A known QEMU need not be probed for seconds at the first domain. The copy of a finished test host serves the next one.
  [ -d "$dir/cache/qemu/capabilities" ] || cp -a "${CAPABILITIES_CACHE:-/var/cache/libvirt}"/. "$dir/cache/" 2>/dev/null || true
}

# Dead emulators fall to the nearest reaper. PID 1 of a container may be slow at it, and libvirt waits for a zombie to vanish. A libvirtd that crashed
# (9.0 does, of SIGSEGV, when a client dies in the midst of a call) starts again, as by systemd on a real host; one that was killed stays dead
# (its supervisor's file goes; the process reaps on while there are guests).
supervise='
  use POSIX qw(:signal_h);
  syscall(157, 36, 1, 0, 0, 0);
  for my $start (1 .. 10) {
    defined(my $libvirtd = fork) or die "fork: $!";
    if (!$libvirtd) { exec @ARGV or die "exec: $!" }
    my $signal = 0;
    while ((my $ended = wait) > 0) {
      next if $ended != $libvirtd;
      $signal = $? & 127;
      last if $signal == SIGSEGV || $signal == SIGABRT;
      unlink $ENV{SUPERVISOR};
    }
    last unless $signal == SIGSEGV || $signal == SIGABRT;
    print "libvirtd crashed with signal $signal and starts again\n";
    unlink $ENV{LIBVIRTD_SOCKET}, $start == 10 ? $ENV{SUPERVISOR} : ();
  }'

start() {
  rm -f "$sock" "$pid"
  ip netns exec "$name" unshare -m --propagation private setsid bash -c "
    mkdir -p /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
    mount --bind $dir/run /run/libvirt; mount --bind $dir/lib /var/lib/libvirt; mount --bind $dir/log /var/log/libvirt
    mount --bind $dir/cache /var/cache/libvirt; mount --bind $dir/etc/libvirt /etc/libvirt
    # ip netns exec mounted a fresh /sys: only the LXC driver needs the control groups in it.
    if ! grep -q ' /sys/fs/cgroup' /proc/mounts; then
      if [ -n \"\$(awk '\$2>0' /proc/cgroups | tail -n +1 | grep -v '^#')\" ]; then
        mount -t tmpfs cgroup /sys/fs/cgroup
        for c in \$(awk '\$2>0{print \$1}' /proc/cgroups); do mkdir -p /sys/fs/cgroup/\$c; mount -t cgroup -o \$c cgroup /sys/fs/cgroup/\$c || rmdir /sys/fs/cgroup/\$c; done
      else mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
    fi 2>/dev/null
    echo \$\$ > $supervisor
    LIBVIRTD_SOCKET=$sock SUPERVISOR=$supervisor exec perl -e '$supervise' libvirtd ${certificates:+-l} -p $pid" </dev/null >>"$dir/log/libvirtd.out" 2>&1 &
  for _ in $(seq 400); do [ -S "$sock" ] && return 0; sleep 0.05; done
  cat "$dir/log/libvirtd.out" "$dir/log/libvirtd.log" >&2
  return 1
}

case $cmd in
up)
  ip netns list | grep -qw "$name" || ip netns add "$name"
  ip -n "$name" link set lo up
  # One that crashed is on its way again: a second one would have the same folder.
  until alive "$pid" && [ -S "$sock" ]; do alive "$supervisor" || { configure; start; break; }; sleep 0.05; done
  echo "$sock" ;;
kill)
  if alive "$pid"; then kill -9 "$(cat "$pid")"; stopped "$pid" 100; stopped "$supervisor" 100; fi ;;
down)
  if alive "$pid"; then
    for driver in qemu lxc; do
      uri="$driver+unix:///system?socket=$sock"
      for domain in $(virsh -q -c "$uri" list --name 2>/dev/null); do virsh -q -c "$uri" destroy "$domain" || true; done
    done
    kill "$(cat "$pid")" 2>/dev/null || true
    stopped "$pid" 100 || kill -9 "$(cat "$pid")" || true
  fi
  # Guests that outlived their daemon are all in the namespace.
  for p in $(ip netns pids "$name" 2>/dev/null || true); do kill -9 "$p" 2>/dev/null || true; done
  ip netns del "$name" 2>/dev/null || true
  grep crashed "$dir/log/libvirtd.out" 2>/dev/null || true
  rm -rf "$dir" ;;
esac
