// The cloud's own accounts: each a user with a project of the same name, in the database whatever the auth driver is. With them the cloud begins,
// and with them it goes on while a directory is away.

/** For whoever set the cloud up. */
export const founderName = 'admin';

/** For the errands of the cloud itself: hosts fetch images with its key. */
export const systemName = 'novact-system';

export const ownAccounts = [founderName, systemName] as const;
