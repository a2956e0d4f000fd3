// Refusals of libvirt that are as good as an answer.
import { LibvirtError } from './rpc.ts';

/** The answer, or undefined when libvirt refused with one of these codes. */
export async function unless<T>(answer: Promise<T>, ...codes: readonly number[]): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof LibvirtError && codes.includes(error.code)) return undefined;
    throw error;
  }
}
