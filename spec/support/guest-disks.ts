// How a guest finds a disk.

/** A command for a guest's shell that prints `vdb`, the name of the disk whose serial number has that text; nothing while it cannot be opened. */
export const diskCommand = (serial: string): string =>
  // Its entry in /sys comes before the one in /dev.
  `for at in $(grep -l ${serial} /sys/block/*/serial); do at=\${at#/sys/block/}; at=\${at%/serial}; [ -b /dev/$at ] && echo $at; done; true`;
