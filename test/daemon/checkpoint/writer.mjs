// Writes the contents of the given files as checkpoints, in turn, until it is killed: writer.mjs <folder> <file>...

import { readFileSync } from 'node:fs';
import { writeCheckpoint } from '../../../dist/daemon/checkpoint/checkpoint-file.js';

const [folder, ...files] = process.argv.slice(2);
const contents = files.map((file) => readFileSync(file));

/** In pieces of the usual size. */
function* piecesOf(content) {
  for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
}

for (let i = 0; ; i++) {
  await writeCheckpoint(folder, piecesOf(contents[i % contents.length]));
  if (i === 1) console.log('under way');
}
