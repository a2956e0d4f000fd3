// Rules go to the kernel as one transaction that says how the kernel counted it: in one network namespace, each transaction of whomever has the next
// number. Whoever knows the number knows that nothing has changed since, without a look at the rules, of which there may be thousands.
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';

/** Ends a text that is all there. A process that is killed while it writes leaves one without, of which nft might take the beginning for the whole. */
const end = '# This is all.\n';

/** Prints the number (netlink's family 12 answers it to the message 0xa10); does what nft is told if it may; then prints the number after that. */
const script = `
$SIG{PIPE} = 'IGNORE';
socket my $kernel, 16, 3, 12 or die "netlink: $!\\n";
sub number {
  send $kernel, pack('LSSLLL', 20, 0xa10, 1, 0, 0, 0), 0 or die "netlink: $!\\n";
  recv $kernel, my $answer, 512, 0;
  my (undef, $attribute, $number) = unpack 'x20 S S N', $answer;
  return $attribute == 1 ? $number : die "netlink: no number\\n";
}
my ($after, $end) = @ARGV;
my $text = do { local $/; <STDIN> } // '';
my $before = number();
print "$before\\n";
exit if $after eq 'never' or $after ne 'any' and $after != $before;
substr($text, -length $end) eq $end or die "the rules are not all there\\n";
open my $nft, '|-', 'nft', '-f', '-' or die "nft: $!\\n";
print $nft $text;
close $nft or exit 1;
print number(), "\\n";
`;

async function perform(run: Run, after: string, text: string): Promise<number[]> {
  const { code, stdout, stderr } = await run('perl', ['-e', script, after, end], { okCodes: [0, 1], input: text + end });
  if (code !== 0) throw new DriverError('failed', `nft -f -: ${stderr.trim().split('\n').slice(-3).join('; ')}`, { output: stderr });
  return stdout.trim().split('\n').map(Number);
}

/** The number of the last transaction in this namespace. */
export async function lastTransaction(run: Run): Promise<number | undefined> {
  return (await perform(run, 'never', ''))[0];
}

/** The number of a transaction; `apart`: others came before or after it at the same moment; `stale`: nothing was done. */
export type Transacted = number | 'apart' | 'stale';

/** What nft reads, wholly or not at all; with `after`, only if that was the last transaction. */
export async function transact(run: Run, text: string, after?: number): Promise<Transacted> {
  const [before, now] = await perform(run, after === undefined ? 'any' : String(after), text);
  if (before === undefined || now === undefined) return 'stale';
  return now === before + 1 ? now : 'apart';
}
