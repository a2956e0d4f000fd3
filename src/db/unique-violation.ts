// What both database drivers say when a row is there already.

export const isUniqueViolation = (error: unknown): boolean => {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
  return code === '23505' || cause?.code === '23505';
};
