// Which wishes reach a guest that answers one of them.
import { describe, expect, it } from 'vitest';
import { AskedOnce } from '../../../../src/drivers/hypervisor/libvirt/asked-once.ts';

const domain = (id: number, name = 'i-1') => ({ name, id, uuid: Buffer.alloc(16) });

/** How often a guest was asked, and asks it. */
function guests(answers: () => Promise<void> = () => Promise.resolve()) {
  const once = new AskedOnce();
  let times = 0;
  return {
    once,
    times: () => times,
    ask: (handle = domain(3)) => once.ask(handle, () => {
      times += 1;
      return answers();
    }),
  };
}

describe('a guest that answers one wish', () => {
  it('is not asked again once it has answered, nor while it is about to', async () => {
    const { ask, times } = guests();
    await Promise.all([ask(), ask()]);
    await ask();
    expect(times()).toBe(1);
  });

  it('is asked again when it has started anew, or is another one', async () => {
    const { ask, times } = guests();
    await ask();
    await ask(domain(4));
    await ask(domain(4, 'i-2'));
    expect(times()).toBe(3);
  });

  it('is asked again when it did not answer', async () => {
    const { ask, times } = guests(() => Promise.reject(new Error('no answer')));
    await expect(ask()).rejects.toThrow('no answer');
    await expect(ask()).rejects.toThrow('no answer');
    expect(times()).toBe(2);
  });

  it('is forgotten with its definition', async () => {
    const { ask, times, once } = guests();
    await ask();
    once.forget('i-1');
    await ask();
    expect(times()).toBe(2);
  });
});
