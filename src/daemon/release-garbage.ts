// Gives memory back after a cold load. What a list of everything leaves behind in V8's heap would otherwise stay until
// the heap grows again, which in a daemon at rest is never: measured 200 MB against 120 MB at 10,000 Services.

/** Collects all garbage and returns free pages to the system; blocks for 10 to 15 ms per 10 MB of live heap. */
export async function releaseGarbage(): Promise<void> {
  // Builds of Node without the inspector cannot; then the memory stays.
  const inspector = await import('node:inspector').catch(() => undefined);
  if (inspector === undefined) return;
  const session = new inspector.Session();
  session.connect();
  await new Promise<void>((resolve) => session.post('HeapProfiler.collectGarbage', () => resolve()));
  session.disconnect();
}
