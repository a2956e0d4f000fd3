// Sends the bytes of an object piece by piece, each when the one before has left: memory is flat, and used again.
import type { ServerResponse } from 'node:http';
import type { Pieces } from '../../drivers/objectstore/driver.ts';

/** Rejects when the client goes away or the content breaks off; then the connection is cut, for the length was promised. */
export async function sendPieces(response: ServerResponse, pieces: Pieces): Promise<void> {
  let refuse: (error: Error) => void = () => undefined;
  const gone = () => refuse(new Error('the client went away'));
  response.once('close', gone);
  try {
    await pieces.copyTo((piece) => new Promise((resolve, reject) => {
      refuse = reject;
      if (response.destroyed) return gone();
      response.write(piece, (error) => (error ? reject(error) : resolve()));
    }));
    response.end();
  } catch (error) {
    response.destroy();
    throw error;
  } finally {
    response.off('close', gone);
  }
}
