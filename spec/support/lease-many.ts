// Many DHCP clients in one guest, for what a server does with hundreds at once.
import type { Guest } from './network-lab.ts';

/** So many clients ask for leases at once, with these MACs, by one interface. Says whom the server gave which address, one `mac address` a line. */
export const leaseMany = (guest: Guest, macs: readonly string[]): Promise<string> => guest.run('/usr/bin/python3', ['-c', `
import socket, struct, sys
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)); card.bind(('eth0', 0)); card.settimeout(2)
waiting = {bytes.fromhex(mac.replace(':', '')): (1, b'') for mac in sys.argv[1:]}
def total(data):
    sum = 0
    for (word,) in struct.iter_unpack('>H', data): sum += word
    return 0xffff - (sum % 0xffff or 0xffff)
def say(mac):
    kind, more = waiting[mac]
    body = struct.pack('>4BIHH', 1, 1, 6, 0, int.from_bytes(mac[2:], 'big'), 0, 0x8000) + bytes(16) + mac + bytes(202)
    body += bytes.fromhex('63825363') + bytes([53, 1, kind]) + more + b'\\xff'
    ip = lambda sum: struct.pack('>2B3H2BH', 0x45, 0, 28 + len(body), 0, 0, 64, 17, sum) + bytes(4) + b'\\xff' * 4
    card.send(b'\\xff' * 6 + mac + b'\\x08\\0' + ip(total(ip(0))) + struct.pack('>4H', 68, 67, 8 + len(body), 0) + body)
def options(data):
    found, at = {}, 0
    while at < len(data) and data[at] != 255:
        found[data[at]] = data[at + 2:at + 2 + data[at + 1]]; at += 2 + data[at + 1]
    return found
tries = 0
for mac in waiting: say(mac)
while waiting and tries < 10:
    try: frame = card.recv(2048)
    except socket.timeout:
        tries += 1
        for mac in waiting: say(mac)
        continue
    if frame[23] != 17 or frame[34:38] != struct.pack('>2H', 67, 68): continue
    answer, mac = frame[42:], frame[70:76]
    said = options(answer[240:]); kind = said.get(53, b'\\0')[0]
    if mac not in waiting: continue
    if kind == 2 and waiting[mac][0] == 1:
        waiting[mac] = (3, b'\\x32\\x04' + answer[16:20] + b'\\x36\\x04' + said[54]); say(mac)
    if kind == 5:
        del waiting[mac]; print(':'.join('%02x' % part for part in mac), socket.inet_ntoa(answer[16:20]))
`, ...macs]).then(({ stdout }) => stdout);
