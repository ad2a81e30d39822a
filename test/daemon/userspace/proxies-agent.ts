// `Proxies` in a process of its own, inside a network namespace; asked in lines of JSON, and answers each by one.

import { createInterface } from 'node:readline';
import { Proxies } from '../../../src/daemon/userspace/proxies.ts';
import type { Trouble } from '../../../src/daemon/userspace/troubles.ts';
import type { KproxyError } from '../../../src/errors.ts';
import type { Side } from '../../../src/mode/userspace/offered-backends.ts';
import type { Ip, IpFamily } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';

export type Question =
  | {
      readonly op: 'update';
      readonly frontends: readonly (readonly [ServiceKey, readonly Frontend[]])[];
      readonly addresses?: readonly (readonly [IpFamily, Ip])[];
    }
  | { readonly op: 'portal'; readonly frontend: Frontend; readonly side: Side }
  | { readonly op: 'release' | 'counts' | 'troubles' | 'close' };

const troubles: Trouble[] = [];
const proxies = new Proxies({ tell: (trouble) => troubles.push(trouble), localhostNodePorts: [4, 6] });

async function answer(question: Question): Promise<unknown> {
  switch (question.op) {
    case 'update': {
      const { frontends, addresses } = question;
      const failures = await proxies.update(
        new Map(frontends),
        addresses === undefined ? undefined : new Map(addresses),
      );
      return failures.map(({ error, services }) => ({ code: (error as KproxyError).code, services }));
    }
    case 'portal':
      return proxies.portal(question.frontend, question.side) ?? null;
    case 'release':
      return proxies.release() ?? null;
    case 'counts':
      return proxies.counts();
    case 'troubles':
      return troubles;
    case 'close':
      return (await proxies.close()) ?? null;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Question))}\n`);
}
