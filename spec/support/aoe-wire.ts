// ATA over Ethernet as it is on the wire: what a host sees of it whose kernel does not connect.
import type { Connection } from '../../src/drivers/volume/driver.ts';
import type { Run } from '../../src/lib/exec.ts';

/** Asks that place for the first sector of its disk, from that card: a frame of the protocol, and whether one comes back. */
const question = `
import socket, struct, sys
link, card, shelf, slot = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88a2))
wire.bind((link, 0x88a2))
wire.setsockopt(263, 1, struct.pack('iHH8s', socket.if_nametoindex(link), 1, 0, b''))
wire.settimeout(2)
wire.send(b'\\xff' * 6 + card + struct.pack('>HBBHBBI', 0x88a2, 0x10, 0, shelf, slot, 0, 7) + bytes([0, 0, 1, 0x20]) + bytes(32))
try:
    while True:
        answer = wire.recv(2048)
        if answer[14] & 8 and struct.unpack('>HB', answer[16:19]) == (shelf, slot):
            print('answers', answer[36:548].rstrip(b'\\0').decode())
            break
except socket.timeout:
    print('silence')
`;

/** `answers` with the text at the beginning of the disk, or `silence`. `run`: on the host that asks; `link`: there; `card`: of whoever it says it is. */
export async function askAoe(run: Run, { link, card }: { link: string; card: string }, connection: Connection): Promise<string> {
  if (connection.protocol !== 'aoe') throw new Error('not by ATA over Ethernet');
  const { shelf, slot } = connection;
  return (await run('/usr/bin/python3', ['-c', question, link, card.replaceAll(':', ''), String(shelf), String(slot)])).stdout.trim();
}
