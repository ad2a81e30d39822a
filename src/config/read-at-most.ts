// A file that somebody has named, and no more of it than is of use: it may be something without an end, such as a device.

import { open } from 'node:fs/promises';

/** Its first bytes, `limit` at most. Rejects with what the system says (an error with a `code` such as `ENOENT`). */
export async function readAtMost(path: string, limit: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(limit);
    let length = 0;
    for (let isAtEnd = false; !isAtEnd && length < limit; ) {
      const { bytesRead } = await file.read(buffer, length, limit - length);
      length += bytesRead;
      isAtEnd = bytesRead === 0;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}
