// A process that a service manager has started: says what it was left.

import { fstatSync, readSync } from 'node:fs';
import { takeStoredBequest } from '../../../../src/daemon/handover/fd-store.ts';

const said: string[] = [];
process.env['LISTEN_PID'] ??= String(process.pid);

function textOf(fd: number): string {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  return bytes.toString();
}

function report(): object {
  try {
    const bequest = takeStoredBequest(process.env, process.pid, (message) => {
      said.push(Buffer.from(message).toString());
      return 0;
    });
    return bequest === undefined ? {} : { bequest: { facts: bequest.facts, texts: bequest.fds.map(textOf) } };
  } catch (error) {
    return { error: (error as { code?: string }).code };
  }
}

const answer = {
  ...report(),
  said,
  env: Object.keys(process.env).filter((name) => name.startsWith('LISTEN_')),
};
console.log(JSON.stringify(answer));
