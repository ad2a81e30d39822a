// How long tests wait for what must come, and watch for what must not: longer where the processor is emulated.

const FACTOR = Number(process.env['KPROXY_PATIENCE'] ?? 1);

/** A time that was chosen for real machines, as this one needs it. */
export function patient(timeoutMs: number): number {
  return timeoutMs * FACTOR;
}
