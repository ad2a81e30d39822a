// Which backend sits in which slot. A slot keeps its backend for as long as the backend stays, so that one endpoint
// more or less costs a few element writes however many endpoints the Service has.

/**
 * Places `wanted` (repetitions allowed) into slots 0 to n-1. A wanted value keeps the slot below n that it has in
 * `previous`; what sits at or above n moves into the holes first, then what is new, in the order of `wanted`.
 */
export function assignSlots(previous: readonly string[], wanted: readonly string[]): readonly string[] {
  const open = new Map<string, number>();
  for (const value of wanted) open.set(value, (open.get(value) ?? 0) + 1);
  const take = (value: string | undefined): boolean => {
    const count = value === undefined ? 0 : (open.get(value) ?? 0);
    if (value === undefined || count === 0) return false;
    open.set(value, count - 1);
    return true;
  };
  const slots: (string | undefined)[] = [];
  for (let i = 0; i < wanted.length; i++) slots.push(take(previous[i]) ? previous[i] : undefined);
  const movers = previous.slice(wanted.length).filter((value) => take(value));
  const newcomers = wanted.filter((value) => take(value));
  const fillers = [...movers, ...newcomers];
  let next = 0;
  return slots.map((value) => value ?? fillers[next++]!);
}
