// Feature gates (component-base/featuregate): which names are known, and which of them mean something here.

import { ConfigError } from '../errors.ts';
import { GATES } from './field-form.ts';
import type { FlagType } from './flag.ts';
import { OTHER_GATES } from './kubernetes-gates.ts';
import { nearest } from './nearest.ts';
import { parseBoolean, parseList } from './parse.ts';
import { quote } from './printable.ts';

/** What kube-proxy 1.36 reads, and whether a gate is locked to a value (pkg/features, client-go/features, component-base). */
const KUBE_PROXY_GATES: ReadonlyMap<string, { readonly locked?: boolean }> = new Map([
  ['AllowServiceExternalIPs', {}],
  ['ComponentFlagz', {}],
  ['ComponentStatusz', {}],
  ['ContextualLogging', {}],
  ['LoggingAlphaOptions', {}],
  ['LoggingBetaOptions', {}],
  ['MultiCIDRServiceAllocator', { locked: true }],
  ['NFTablesProxyMode', { locked: true }],
  ['NativeHistograms', {}],
  ['PreferSameTrafficDistribution', { locked: true }],
  // All of a stage at once.
  ['AllAlpha', {}],
  ['AllBeta', {}],
]);

const KNOWN = new Set([...KUBE_PROXY_GATES.keys(), ...OTHER_GATES]);

/** Whether each gate that was given is on. */
export type FeatureGates = ReadonlyMap<string, boolean>;

/** `A=true,B=false`; of several occurrences of a gate the last one counts. */
export const featureGates: FlagType<FeatureGates> = {
  hint: 'gates',
  form: GATES,
  isAdded: true,
  parse: (texts) => new Map(parseList(texts).map(parseGate)),
};

function parseGate(item: string): [name: string, isOn: boolean] {
  const [, name, value] = /^([^=]*)=(.*)$/s.exec(item) ?? [];
  if (name === undefined || value === undefined) {
    throw new ConfigError(`must be gates such as AllowServiceExternalIPs=false, got ${quote(item)}`);
  }
  const gate = name.trim();
  if (!KNOWN.has(gate)) {
    const suggestion = nearest(gate, [...KNOWN]);
    const hint = suggestion === undefined ? '' : `; did you mean ${suggestion}?`;
    throw new ConfigError(`unknown feature gate ${quote(gate)}${hint}`);
  }
  const isOn = parseBoolean(value.trim());
  const locked = KUBE_PROXY_GATES.get(gate)?.locked;
  if (locked !== undefined && isOn !== locked) {
    throw new ConfigError(`feature gate ${gate} is locked to ${locked}`);
  }
  return [gate, isOn];
}
