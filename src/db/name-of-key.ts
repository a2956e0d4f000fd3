// One text for a bucket and a key, in memory: whatever is asked for or put, also what can be no bucket's name. No two have one name.
export const nameOfKey = ({ bucket, key }: { readonly bucket: string; readonly key: string }): string => `${bucket.length} ${bucket}/${key}`;
