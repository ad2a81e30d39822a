import { expect, it } from 'vitest';
import { buildServiceCidr } from '../../src/model/build-service-cidr.ts';
import { formatCidr } from '../../src/model/ip.ts';

function build(object: object) {
  const built = buildServiceCidr({ metadata: { name: 'kubernetes' }, ...object });
  if (built.kind !== 'built') throw new Error(built.reason);
  return { ...built.value, cidrs: built.value.cidrs.map(formatCidr), told: built.warnings };
}

it.each<[string, object, string[]]>([
  ['one', { spec: { cidrs: ['10.96.0.0/16'] } }, ['10.96.0.0/16']],
  ['two', { spec: { cidrs: ['fd00:10:96::/112', '10.96.0.0/16'] } }, ['10.96.0.0/16', 'fd00:10:96::/112']],
  ['none', { spec: {} }, []],
  [
    'not ready',
    {
      spec: { cidrs: ['10.96.0.0/16'] },
      status: { conditions: [{ type: 'Ready', status: 'False' }] },
    },
    ['10.96.0.0/16'],
  ],
  [
    'being deleted',
    {
      metadata: { name: 'kubernetes', deletionTimestamp: '2026-01-01T00:00:00Z' },
      spec: { cidrs: ['10.96.0.0/16'] },
    },
    ['10.96.0.0/16'],
  ],
])('%s', (_, object, cidrs) => {
  expect(build(object)).toEqual({ name: 'kubernetes', cidrs, told: [] });
});

it('skips a network that is none', () => {
  expect(build({ spec: { cidrs: ['10.96.0.0/99', '10.97.0.0/16'] } })).toMatchObject({
    cidrs: ['10.97.0.0/16'],
    told: [
      {
        code: 'SKIPPED_FIELD',
        reason: 'spec.cidrs[0]: must be a CIDR such as 192.0.2.0/24, got "10.96.0.0/99"; skipped',
      },
    ],
  });
});
