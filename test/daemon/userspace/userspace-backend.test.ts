// How proxies and portals go together, over a kernel of the tracer's own.

import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { NftSession } from '../../../src/daemon/nft-session.ts';
import { ProxyShare } from '../../../src/daemon/userspace/proxy-share.ts';
import { UserspaceBackend } from '../../../src/daemon/userspace/userspace-backend.ts';
import { PORTAL_TABLE } from '../../../src/mode/userspace/portals.ts';
import { portalRows } from '../../../src/mode/userspace/rows.ts';
import type { Ip } from '../../../src/model/ip.ts';
import { packIp } from '../../../src/model/ip.ts';
import type { ServiceKey } from '../../../src/model/types.ts';
import { flowEnd } from '../../../src/vip/conntrack/flow-target.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import { TracedKernel } from '../../behaviour/traced-kernel.ts';
import { frontend } from '../../support/frontends.ts';
import { FAMILIES, hostCidrs, MASQUERADE_BIT } from '../../support/in-process-proxy.ts';
import { StandInProxies } from './stand-in-proxies.ts';

const [FIRST, SECOND] = ['192.168.50.10', '192.168.60.10'] as Ip[];
const IP6 = 'fd00:50::10' as Ip;
const WEB = frontend('web', { address: '10.96.0.1', backends: ['10.1.0.11:8080'] });
const DNS = frontend('dns', { address: '10.96.0.10', port: 53, protocol: 'UDP', backends: ['10.1.0.12:53'] });
const WEB6 = frontend('web6', { address: 'fd00:10:96::1', backends: ['[fd00:10:1::11]:8080'] });

let kernel: TracedKernel;
let proxies: StandInProxies;
let hostAddresses: { current: readonly Ip[]; isClosed: boolean; close(): void };
let share: ProxyShare;
let backend: UserspaceBackend;

function open(over: ProxyShare): UserspaceBackend {
  return new UserspaceBackend({
    share: over,
    hostAddresses,
    families: FAMILIES,
    masqueradeBit: MASQUERADE_BIT,
    bindAddress: undefined,
    ownsTables: false,
  });
}

beforeEach(() => {
  kernel = new TracedKernel();
  proxies = new StandInProxies();
  hostAddresses = {
    current: [FIRST!, IP6],
    isClosed: false,
    close() {
      this.isClosed = true;
    },
  };
  share = new ProxyShare(new NftSession(kernel, PORTAL_TABLE), proxies);
  backend = open(share);
});

/** Several Frontends of one Service belong together. */
function update(...frontends: Frontend[]) {
  const byService = new Map<ServiceKey, Frontend[]>();
  for (const one of frontends) byService.set(one.service, [...(byService.get(one.service) ?? []), one]);
  return byService;
}
const sync = (frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>, nodeAddresses?: readonly Ip[]) =>
  backend.sync({
    frontends,
    surroundings:
      nodeAddresses === undefined
        ? undefined
        : { nodePortCidrs: hostCidrs(FIRST!, IP6), serviceCidrs: [], localPods: new Map(), nodeAddresses },
  });
/** `default/web 192.168.50.10:40000` of every row. */
async function lead(): Promise<string[]> {
  const session = new NftSession(kernel, PORTAL_TABLE);
  const { observed } = await session.observe(await session.families());
  return portalRows(observed)
    .map(
      ({ service, portal, action }) =>
        `${service} ${portal === undefined ? action : `${portal.address}:${portal.port}`}`,
    )
    .sort();
}

test('what portals lead to listens before they do, and is let go of when flows have left it', async () => {
  let ledWhileUpdating: string[] = [];
  const listen = proxies.update.bind(proxies);
  proxies.update = async (...args) => {
    const failures = await listen(...args);
    ledWhileUpdating = await lead();
    return failures;
  };
  expect(await sync(update(WEB, DNS), [])).toMatchObject({ failures: [] });
  expect(ledWhileUpdating).toEqual([]);
  expect(await lead()).toEqual(['default/dns 192.168.50.10:40001', 'default/web 192.168.50.10:40000']);

  await sync(new Map([[DNS.service, []]]));
  expect(proxies.ports.size).toBe(2);
  expect(ledWhileUpdating).toContain('default/dns 192.168.50.10:40001');
  await backend.afterSync.settle(0, new Set());
  expect(proxies.ports.size).toBe(1);
  expect(proxies.calls).toEqual(['update default/web,default/dns', 'update default/dns', 'release']);
});

test('an update of some Services asks nothing of the others', async () => {
  await sync(update(WEB, DNS), []);
  await sync(update(WEB));
  expect(proxies.calls.at(-1)).toBe('update default/web');
});

describe('what cannot be served', () => {
  test('is refused, told, and tried again; nothing else is lost', async () => {
    proxies.refuses.add(DNS.service);
    const { failures } = await sync(update(WEB, DNS), []);
    expect(failures.map(({ services }) => services)).toEqual([[DNS.service]]);
    expect(await lead()).toEqual(['default/dns refuse', 'default/web 192.168.50.10:40000']);
    expect(backend.problems()).toEqual([
      { subject: 'Service default/dns', code: 'NO_PROXY', reason: 'no port is free' },
    ]);
    expect(await backend.hasDrifted()).toBe(true);

    proxies.refuses.clear();
    expect(await sync(new Map())).toMatchObject({ failures: [] });
    expect(await lead()).toEqual(['default/dns 192.168.50.10:40001', 'default/web 192.168.50.10:40000']);
    expect(backend.problems()).toEqual([]);
    expect(await backend.hasDrifted()).toBe(false);
  });

  test('is not tried again once it is gone', async () => {
    proxies.refuses.add(DNS.service);
    await sync(update(DNS), []);
    proxies.refuses.clear();
    expect(await sync(new Map([[DNS.service, []]]))).toMatchObject({ failures: [] });
    expect(backend.problems()).toEqual([]);
    expect(await lead()).toEqual([]);
    await sync(new Map());
    expect(proxies.calls.at(-1)).toBe('update ');
  });

  test('a family without an address is told once, and is no failure', async () => {
    hostAddresses.current = [FIRST!];
    expect(await sync(update(WEB, WEB6), [])).toMatchObject({ failures: [] });
    expect(await lead()).toEqual(['default/web 192.168.50.10:40000', 'default/web6 refuse']);
    expect(backend.problems().map(({ code }) => code)).toEqual(['NO_PROXY_ADDRESS']);

    hostAddresses.current = [FIRST!, IP6];
    expect(await backend.hasDrifted()).toBe(true);
    await sync(new Map());
    expect(await lead()).toEqual(['default/web 192.168.50.10:40000', 'default/web6 fd00:50::10:40001']);
    expect(backend.problems()).toEqual([]);
  });
});

test("all portals move with the Node's address, and so do flows", async () => {
  hostAddresses.current = [FIRST!, SECOND!];
  await sync(update(WEB, DNS), [FIRST!]);
  backend.portals.takeMoved();
  await sync(new Map(), [SECOND!, FIRST!]);
  expect(await lead()).toEqual(['default/dns 192.168.60.10:40001', 'default/web 192.168.60.10:40000']);
  expect([...backend.portals.takeMoved()]).toEqual([
    [WEB.service, [WEB]],
    [DNS.service, [DNS]],
  ]);
  expect(backend.portals.endsOf(DNS)).toEqual(new Set([flowEnd(packIp(SECOND!), 40_001)]));
  expect([...backend.portals.takeMoved()]).toEqual([]);
});

test('a table is completed by the endpoints behind its portals', async () => {
  const sctp = frontend('sctp', { address: '10.96.0.1', protocol: 'SCTP', backends: ['10.1.0.11:80'] });
  const nobody = frontend('nobody', { address: '10.96.0.3', backends: [] });
  await sync(update(WEB, WEB6, sctp, nobody), []);
  const session = new NftSession(kernel, PORTAL_TABLE);
  const { observed } = await session.observe(await session.families());
  const rows = backend.portals.completed(portalRows(observed));
  expect(new Map(rows.map(({ service, action, backends }) => [service, [action, ...backends]]))).toEqual(
    new Map([
      ['default/web', ['proxy', { address: '10.1.0.11', port: 8080 }]],
      ['default/web6', ['proxy', { address: 'fd00:10:1::11', port: 8080 }]],
      ['default/sctp', ['balance', { address: '10.1.0.11', port: 80 }]],
      ['default/nobody', ['refuse']],
    ]),
  );
});

test('flows of SCTP lead to endpoints, as in nftables mode', async () => {
  const sctp = frontend('sctp', { address: '10.96.0.1', protocol: 'SCTP', backends: ['10.1.0.11:80'] });
  await sync(update(sctp), []);
  expect(backend.portals.endsOf(sctp)).toBeUndefined();
  expect(proxies.ports.size).toBe(0);
});

test('a port that a proxy has now is found when all is looked at', async () => {
  await sync(update(WEB), []);
  proxies.ports.set('4 outside TCP', 50_000);
  backend.distrust();
  await sync(new Map());
  expect(await lead()).toEqual(['default/web 192.168.50.10:50000']);
});

describe('the end', () => {
  test('portals are gone before their proxies; what is established has its time', async () => {
    await sync(update(WEB), []);
    await backend.portals.withdraw(true);
    expect(kernel.table('ip').chains.size).toBe(0);
    expect(proxies.calls).not.toContain('close');
    await backend.portals.drain(10);
    backend.close();
    expect(proxies.calls.filter((call) => !call.startsWith('update'))).toEqual(['drain', 'close', 'close']);
    expect(hostAddresses.isClosed).toBe(true);
  });

  test('who has asked is answered before', async () => {
    await sync(update(DNS), []);
    proxies.unansweredClients = 1;
    await backend.portals.withdraw(true);
    let isOver = false;
    const answered = backend.portals.answered().then(() => {
      isOver = true;
    });
    await sleep(200);
    expect(isOver).toBe(false);
    proxies.unansweredClients = 0;
    await answered;
  });

  test('who is never answered is not waited for', async () => {
    await sync(update(DNS), []);
    proxies.unansweredClients = 1;
    await backend.portals.withdraw(true);
    await backend.portals.answered();
    await backend.portals.drain(10);
    expect(proxies.calls).toContain('close');
  });

  test('what ends by itself is not waited for any longer', async () => {
    await sync(update(WEB), []);
    await backend.portals.withdraw(true);
    const drained = backend.portals.drain();
    proxies.end();
    await drained;
  });

  test('another backend of the mode goes on with the same portals and proxies', async () => {
    await sync(update(WEB, DNS), []);
    const former = backend;
    backend = open(share);
    await sync(update(WEB, DNS), []);
    await former.portals.withdraw(true);
    await former.portals.drain(0);
    former.close();
    expect(await lead()).toEqual(['default/dns 192.168.50.10:40001', 'default/web 192.168.50.10:40000']);
    expect(proxies.calls).not.toContain('close');
    expect(share.isUsable).toBe(true);

    await backend.portals.withdraw(true);
    expect(share.isUsable).toBe(false);
    expect(kernel.table('ip').chains.size).toBe(0);
    backend.close();
    expect(proxies.calls.at(-1)).toBe('close');
  });
});
