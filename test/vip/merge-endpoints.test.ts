// Endpoints of a port over slices: what matches, and who is believed when two slices name one address.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Endpoint } from '../../src/model/types.ts';
import { mergeEndpoints } from '../../src/vip/merge-endpoints.ts';
import { ELSEWHERE, endpoint, HERE, type State, slice, states } from './objects.ts';

const http = { name: 'http', protocol: 'TCP' } as const;
const merge = (slices: Parameters<typeof mergeEndpoints>[2]) => mergeEndpoints(http, 4, slices, HERE);
const addresses = (slices: Parameters<typeof mergeEndpoints>[2]) =>
  merge(slices).map(({ backend }) => `${backend.ip}:${backend.port}`);

describe('a port', () => {
  test('matches by name and protocol, and one name may mean several numbers', () => {
    const of = (address: string, ports: Parameters<typeof slice>[1]) => slice([address], ports);
    expect(
      addresses([
        of('10.1.0.1', {}),
        of('10.1.0.2', { ports: [{ ...http, port: 9090 }] }),
        of('10.1.0.3', { ports: [{ name: 'admin', protocol: 'TCP', port: 80 }] }),
        of('10.1.0.4', { ports: [{ name: 'http', protocol: 'UDP', port: 80 }] }),
        of('10.1.0.5', { ports: [] }),
      ]),
    ).toEqual(['10.1.0.1:8080', '10.1.0.2:9090']);
  });

  test('may be several numbers of one endpoint', () => {
    const ports = [9090, 8080].map((port) => ({ ...http, port }));
    expect(addresses([slice(['10.1.0.1'], { ports })])).toEqual(['10.1.0.1:8080', '10.1.0.1:9090']);
  });

  test('has the endpoints of its family', () => {
    expect(addresses([slice(['fd00::1'], { family: 6 }), slice(['10.1.0.1'])])).toEqual(['10.1.0.1:8080']);
  });

  test('may dial itself on this node, or on one that is not named', () => {
    const on = (nodeName: string | undefined, i: number) => endpoint(`10.1.0.${i}`, 'ready', { nodeName });
    const merged = merge([slice([HERE, undefined, ELSEWHERE].map(on))]);
    expect(merged.map(({ backend }) => backend.isMaybeLocal)).toEqual([true, true, false]);
  });
});

describe('of two entries for one address', () => {
  const one = (state: State, over: Partial<Endpoint> = {}) => endpoint('10.1.0.1', state, over);
  test.each<[string, Endpoint, Endpoint]>([
    ['one that is not terminating wins over one that drains', one('ready'), one('draining')],
    ['even when it is not ready', one('unready'), one('draining')],
    ['even when the other is marked ready', one('unready'), one('publishedEnding')],
    ['even when the other is here', one('ready'), one('ended', { nodeName: HERE })],
    ['a ready one wins', one('ready'), one('servingOnly', { nodeName: HERE })],
    ['a serving one wins when neither is ready', one('servingOnly'), one('unready')],
    ['a serving one wins when both terminate', one('draining'), one('ended')],
    ['one on this node wins', one('ready', { nodeName: HERE }), one('ready')],
    [
      'one on this node wins over an unnamed one',
      one('ready', { nodeName: HERE }),
      one('ready', { nodeName: undefined }),
    ],
    ['an unnamed one, which may be here, wins', one('ready', { nodeName: undefined }), one('ready')],
    ['the smaller node hints win', one('ready', { nodeHints: ['a'] }), one('ready', { nodeHints: ['b'] })],
    ['else the smaller node name wins', one('ready'), one('ready', { nodeName: 'node-3' })],
    ['else the smaller zone wins', one('ready', { zone: 'a' }), one('ready', { zone: 'b' })],
    ['the smaller zone hints win', one('ready', { zoneHints: ['a'] }), one('ready', { zoneHints: ['b'] })],
  ])('%s', (_, winner, loser) => {
    const [first, second] = [slice([winner], { key: 'a' }), slice([loser], { key: 'b' })];
    for (const slices of [
      [first, second],
      [second, first],
      [slice([winner, loser])],
      [slice([loser, winner])],
    ]) {
      expect(merge(slices).map((merged) => merged.endpoint)).toEqual([winner]);
    }
  });
});

test('the result does not depend on the order of slices or endpoints, and names every address once', () => {
  const hints = fc.constantFrom<string[] | undefined>(undefined, ['a'], ['b'], ['a', 'b']);
  const anyEndpoint = fc
    .record({
      address: fc.integer({ min: 1, max: 4 }).map((n) => `10.1.0.${n}`),
      state: fc.constantFrom(...(Object.keys(states) as State[])),
      nodeName: fc.constantFrom(HERE, ELSEWHERE, undefined),
      nodeHints: hints,
      zoneHints: hints,
    })
    .map(({ address, state, ...over }) => endpoint(address, state, over));
  fc.assert(
    fc.property(fc.array(fc.array(anyEndpoint, { maxLength: 5 }), { maxLength: 4 }), (lists) => {
      const forward = lists.map((list, i) => slice(list, { key: `s${i}` }));
      const backward = lists.map((list, i) => slice(list.toReversed(), { key: `s${i}` })).reverse();
      expect(merge(backward)).toEqual(merge(forward));
      const expected = [...new Set(lists.flat().map((one) => `${one.ip}:8080`))].sort();
      expect(addresses(forward)).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});
