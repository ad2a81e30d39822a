// Histories of a cluster as ipvs mode gets them.

import fc from 'fast-check';
import type { ServiceKey } from '../../../src/model/types.ts';
import type { Frontend } from '../../../src/vip/frontend.ts';
import type { Surroundings } from '../../../src/vip/surroundings.ts';
import { someService, surroundings } from '../iptables/arbitrary-services.ts';

export interface Step {
  readonly frontends: ReadonlyMap<ServiceKey, readonly Frontend[]>;
  readonly surroundings: Surroundings | undefined;
}

const step: fc.Arbitrary<Step> = fc
  .tuple(
    fc.uniqueArray(fc.nat({ max: 5 }), { minLength: 1, maxLength: 4 }),
    fc.option(surroundings, { nil: undefined, freq: 3 }),
  )
  .chain(([indices, around]) =>
    fc.tuple(...indices.map((index) => fc.tuple(someService(index), fc.nat({ max: 3 })))).map((services) => ({
      surroundings: around,
      frontends: new Map(services.map(([{ key, frontends }, fate]) => [key, fate === 0 ? [] : frontends])),
    })),
  );

export const arbitraryServices: fc.Arbitrary<readonly Step[]> = fc.array(step, {
  minLength: 1,
  maxLength: 6,
});
