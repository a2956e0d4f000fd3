#!/bin/sh
# Applies what the DHCP server said: address, MTU, routes (option 121 replaces the router, RFC 3442), hostname, name servers.
case $1 in bound | renew) ;; *) exit 0 ;; esac
export PATH=/bin:/sbin
[ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
ip -4 -o addr show "$interface" | grep -q " $ip/${mask:-24} " || {
  ip -4 addr flush dev "$interface"
  ip addr add "$ip/${mask:-24}" dev "$interface"
}
if [ -n "$staticroutes" ]; then
  set -- $staticroutes
  while [ $# -ge 2 ]; do
    if [ "$2" = 0.0.0.0 ]; then ip route replace "$1" dev "$interface"; else ip route replace "$1" via "$2" dev "$interface"; fi
    shift 2
  done
elif [ -n "$router" ]; then
  ip route replace default via "${router%% *}" dev "$interface"
fi
[ -n "$hostname" ] && hostname "$hostname"
{
  [ -n "$domain" ] && echo "search $domain"
  for server in $dns; do echo "nameserver $server"; done
} > /run/resolv.conf
cat /run/resolv.conf > /etc/resolv.conf
