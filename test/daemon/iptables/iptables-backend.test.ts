// What iptables mode tells about Services that ask for more than it has.

import { expect, test } from 'vitest';
import { IptablesBackend } from '../../../src/daemon/iptables/iptables-backend.ts';
import { createLog } from '../../../src/daemon/log.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { TracedTables } from '../../behaviour/iptables-ruleset.ts';
import { frontend } from '../../support/frontends.ts';

const log = createLog({
  format: 'json',
  verbosity: 0,
  isTty: false,
  destination: { write: () => undefined },
});

test('a scheduler that iptables cannot be is told, for as long as it is asked for', async () => {
  const backend = new IptablesBackend({
    tables: new TracedTables(),
    families: [4],
    settings: {
      masqueradeBit: 14,
      servesLocalhostNodePorts: false,
      dropsInvalid: true,
      dispatch: 'tree',
    },
    setSysctl: () => undefined,
    log,
  });
  const codes = async (...frontends: Frontend[]) => {
    const update = new Map([['default/web' as ServiceKey, frontends]]);
    const { failures } = await backend.sync({ frontends: update, surroundings: undefined });
    expect(failures).toEqual([]);
    return backend.problems().map(({ subject, code }) => `${subject} ${code}`);
  };
  const web = frontend('web', { address: '10.96.0.1', backends: ['10.1.0.1:80'] });
  expect(await codes(web)).toEqual([]);
  expect(await codes({ ...web, scheduler: 'mh' })).toEqual(['Service default/web UNSUPPORTED_SCHEDULER']);
  expect(await codes(web)).toEqual([]);
  await codes({ ...web, scheduler: 'rr' });
  expect(await codes()).toEqual([]);
});
