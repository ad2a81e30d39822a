import { expect, test } from 'vitest';
import { schedulingOf } from '../../../src/mode/ipvs/scheduler.ts';
import type { Scheduler, SchedulerFlag } from '../../../src/model/service-policy.ts';
import { SCHEDULERS } from '../../../src/model/service-policy.ts';
import { backend } from '../../support/frontends.ts';

const EVEN = [backend('10.1.0.11:80'), backend('10.1.0.12:80')];
const UNEVEN = [backend('10.1.0.11:80'), { ...backend('10.1.0.12:80'), weight: 3 }];

const of = (scheduler: Scheduler, byDefault = 'rr', flags: SchedulerFlag[] = [], backends = EVEN) =>
  schedulingOf({ scheduler, schedulerFlags: flags, backends }, byDefault);

test.each(SCHEDULERS.filter((one) => one !== 'random'))("%s is the kernel's of that name", (scheduler) => {
  expect(of(scheduler, 'lc').scheduler).toBe(scheduler);
});

test('who chooses none gets the default', () => {
  expect(of('random', 'wlc')).toEqual({ scheduler: 'wlc', flags: 0 });
});

test.each([
  ['rr', 'wrr'],
  ['lc', 'wlc'],
  ['sh', 'sh'],
  ['wrr', 'wrr'],
] as const)('with weights that differ %s is %s', (asked, scheduler) => {
  expect(of(asked, 'rr', [], UNEVEN).scheduler).toBe(scheduler);
  expect(of('random', asked, [], UNEVEN).scheduler).toBe(scheduler);
});

// linux/ip_vs.h: IP_VS_SVC_F_SCHED_SH_FALLBACK and MH_FALLBACK 0x8, SH_PORT and MH_PORT 0x10.
test.each<[Scheduler, string, SchedulerFlag[], number]>([
  ['sh', 'rr', [], 0x8],
  ['sh', 'rr', ['sh-port'], 0x18],
  ['mh', 'rr', [], 0x8],
  ['mh', 'rr', ['mh-fallback', 'mh-port'], 0x18],
  ['mh', 'rr', ['sh-port'], 0x8],
  ['mh', 'rr', ['mh-port'], 0x18],
  ['rr', 'rr', ['sh-port', 'mh-port'], 0],
  ['random', 'mh', [], 0x18],
  ['random', 'sh', ['sh-port'], 0x18],
])('flags of %s over %s with %j', (scheduler, byDefault, flags, expected) => {
  expect(of(scheduler, byDefault, flags).flags).toBe(expected);
});
