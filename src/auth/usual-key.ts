// Which of a user's keys clients are given, where there is room for one.
import type { AuthManager } from './manager.ts';

/** Of several keys, the one that stands for no project: Nova's clients name the project themselves. */
export async function usualKey(auth: AuthManager, userId: string): Promise<string | undefined> {
  const keys = (await auth.accessKeys(userId)).filter(({ enabled }) => enabled);
  return (keys.find(({ projectId }) => projectId === undefined) ?? keys[0])?.id;
}
