// What the daemon is doing, in one line for `systemctl status`.

export interface StatusFacts {
  readonly source: string;
  readonly mode: string;
  readonly serviceCount: number;
  /** Rules were in force at some time. */
  readonly isInForce: boolean;
  /** Of what the last sync could not do, the first reason. */
  readonly failure: string | undefined;
  /** Objects are those of then; nobody has confirmed them since. */
  readonly staleSince: Date | undefined;
  /** Why the configuration that was read last is not in force. */
  readonly refusal?: string | undefined;
}

export function statusLine({
  source,
  mode,
  serviceCount,
  isInForce,
  failure,
  staleSince,
  refusal,
}: StatusFacts): string {
  if (failure !== undefined) return `Not all is in force, trying again: ${failure}`;
  if (!isInForce) return `Waiting for ${source}`;
  const services = `${serviceCount} ${serviceCount === 1 ? 'Service' : 'Services'} in force, ${mode} mode`;
  if (refusal !== undefined) return `${services}; the new configuration is refused: ${refusal}`;
  if (staleSince === undefined) return services;
  return `${services}, as of ${staleSince.toISOString()}: ${source} does not answer`;
}
