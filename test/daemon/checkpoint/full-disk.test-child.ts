// Runs in a mount namespace of its own, with a small file system at the path that it is given; prints what came of it.

import { readdirSync, readFileSync } from 'node:fs';
import {
  checkpointPath,
  readCheckpoint,
  writeCheckpoint,
} from '../../../src/daemon/checkpoint/checkpoint-file.ts';
import { encodeCheckpoint } from '../../../src/daemon/checkpoint/checkpoint-format.ts';
import { cluster } from './objects.ts';

const OWNER = { node: 'node-1', source: 'API server https://192.0.2.1:6443' };
const disk = process.argv[2]!;
const write = (serviceCount: number) =>
  writeCheckpoint(disk, encodeCheckpoint(OWNER, new Date(), cluster(serviceCount)));

await write(10);
const before = readFileSync(checkpointPath(disk), 'utf8');
const failure = await write(3000).catch(({ code }) => code);
const isLastKept = readFileSync(checkpointPath(disk), 'utf8') === before;
const remains = readdirSync(disk);
await write(20);
const found = await readCheckpoint(disk, OWNER);
const objectsAfterwards = found !== undefined && 'objects' in found ? found.objects.length : found;
console.log(JSON.stringify({ failure, isLastKept, remains, objectsAfterwards }));
